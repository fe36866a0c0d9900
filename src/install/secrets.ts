/** Removes what gives access to a server from URLs, so that messages can show them. */

const HIDDEN = "…";

/** A URL without user, password and query, each of which may be a secret. */
export function withoutSecrets(url: URL): string {
  const shown = new URL(url);
  if (shown.username !== "" || shown.password !== "") {
    shown.username = "";
    shown.password = "";
  }
  shown.search = "";
  shown.hash = "";
  return url.search === "" ? shown.href : `${shown.href}?${HIDDEN}`;
}

/** A text without what stands before the host in its URLs, and their queries, valid or not. */
export function hideSecrets(text: string): string {
  return text.replace(/([a-z][a-z0-9+.-]*:[/\\]*)[^\s'"]*@/gi, `$1${HIDDEN}@`)
    .replace(/([a-z][a-z0-9+.-]*:[/\\]+[^\s'"?]*\?)[^\s'"]*/gi, `$1${HIDDEN}`);
}

/** What a request has instead of the user and the password of its URL. */
export function splitSecrets(url: URL): { url: URL; headers: Record<string, string> } {
  if (url.username === "" && url.password === "") return { url, headers: {} };
  const [user, password] = [url.username, url.password].map(decodeURIComponent);
  const bytes = new TextEncoder().encode(`${user}:${password}`);
  const bare = new URL(url);
  bare.username = "";
  bare.password = "";
  return { url: bare, headers: { authorization: `Basic ${bytes.toBase64()}` } };
}
