"""Makes pretrained.safetensors: a network that tells the digits but 3 and 8 apart, by their ink.

Of each image of the demo's digits it sees the ink of its 8 rows and 8 columns, as eights.csv has them. Run
with torch 2.13.0 and safetensors 0.8.0:

    python examples/minimal/data/make_pretrained.py
"""

from pathlib import Path

import torch
from safetensors.torch import save_file

FOLDER = Path(__file__).parent
CLASSES = [0, 1, 2, 4, 5, 6, 7, 9]


def read_digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs [images, 16] and classes [images]."""
    inputs, labels = [], []
    for line in (FOLDER / "../../digits/data/digits.txt").read_text(encoding="ascii").splitlines():
        label = int(line[65])
        if label not in CLASSES:
            continue
        image = torch.tensor(["0123456789abcdefg".index(shade) / 16 for shade in line[:64]])
        image = image.reshape(8, 8)
        inputs.append(torch.cat([image.sum(1), image.sum(0)]) / 4 - 0.5)
        labels.append(CLASSES.index(label))
    return torch.stack(inputs), torch.tensor(labels)


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = torch.nn.Sequential(
            torch.nn.Linear(16, 32), torch.nn.Tanh(), torch.nn.Linear(32, 16), torch.nn.Tanh()
        )
        self.head = torch.nn.Linear(16, len(CLASSES))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(inputs))


torch.manual_seed(1)
inputs, labels = read_digits()
network = Network()
optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
for epoch in range(300):
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(network(inputs), labels)
    loss.backward()
    optimizer.step()
accuracy = (network(inputs).argmax(1) == labels).float().mean()
print(f"accuracy {100 * accuracy:.1f} % of {len(labels)} images")
save_file(network.state_dict(), FOLDER / "pretrained.safetensors", metadata={"format": "pt"})
