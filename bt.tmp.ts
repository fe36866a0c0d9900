import { reportWebGpu } from "./bench/gpu_host.ts";
await reportWebGpu(300);
