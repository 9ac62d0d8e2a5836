#!/usr/bin/python3
"""Trains the digits model and writes 1/model.onnx, labels.txt and samples/.

Only who wants to retrain needs this; the results are kept in the repository. It runs on Debian 12's python3-torch,
python3-sklearn and python3-onnx (which only checks what was written):

    /usr/bin/python3 models/digits/train.py

The data are split once, with a fixed seed and stratified by digit, into three parts: weights are fitted on the first,
the epoch to keep is chosen on the second, and the third (held back) is looked at once, after both are settled. The
sample images come from the third part: the first two of each digit in its order, right or wrong.
"""
import json
import pathlib

import numpy
import onnx
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

SEED = 20261124
EPOCHS = 80
HERE = pathlib.Path(__file__).resolve().parent


class Digits(nn.Module):
    """Three convolutions and one linear layer. Takes the data set's own range, 0 to 16: scaling is part of the graph,
    so that no client has to know it. `logits` is trained; `forward`, what is exported, ends in probabilities."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Dropout(0.3), nn.Linear(256, 10))

    def logits(self, image):
        return self.features(image * (1.0 / 16.0))

    def forward(self, image):
        return torch.softmax(self.logits(image), dim=1)


def split():
    data = load_digits()
    images = data.images.astype(numpy.float32)[:, None]
    rest, held, rest_labels, held_labels = train_test_split(
        images, data.target, test_size=0.2, random_state=SEED, stratify=data.target)
    fit, select, fit_labels, select_labels = train_test_split(
        rest, rest_labels, test_size=0.125, random_state=SEED, stratify=rest_labels)
    pairs = (fit, fit_labels), (select, select_labels), (held, held_labels)
    return [(torch.tensor(x), torch.tensor(y)) for x, y in pairs]


def shifted(images):
    """Each image moved by -1, 0 or 1 pixels in both directions: the one augmentation that 8 x 8 pixels can bear."""
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    moved = torch.empty_like(images)
    for i, (dy, dx) in enumerate(torch.randint(0, 3, (len(images), 2)).tolist()):
        moved[i] = padded[i, :, dy:dy + 8, dx:dx + 8]
    return moved


def accuracy(model, images, labels):
    model.eval()
    with torch.no_grad():
        return (model.logits(images).argmax(1) == labels).float().mean().item()


def train(fit, select):
    model = Digits()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    best, kept, kept_epoch = -1.0, None, 0
    for epoch in range(EPOCHS):
        model.train()
        for batch in torch.randperm(len(fit[0])).split(64):
            optimizer.zero_grad()
            logits = model.logits(shifted(fit[0][batch]))
            loss = nn.functional.cross_entropy(logits, fit[1][batch], label_smoothing=0.05)
            loss.backward()
            optimizer.step()
        schedule.step()
        score = accuracy(model, *select)
        if score >= best:  # of equals the latest: its learning rate is the smallest
            best, kept, kept_epoch = score, {k: v.clone() for k, v in model.state_dict().items()}, epoch + 1
    model.load_state_dict(kept)
    model.eval()
    return model, best, kept_epoch


def write_model(model):
    path = HERE / "1" / "model.onnx"
    path.parent.mkdir(exist_ok=True)
    torch.onnx.export(model, torch.zeros(1, 1, 8, 8), str(path), opset_version=13, input_names=["image"],
                      output_names=["probabilities"],
                      dynamic_axes={"image": {0: "N"}, "probabilities": {0: "N"}})
    onnx.checker.check_model(str(path))
    print(f"{path.relative_to(HERE)}: {path.stat().st_size} bytes")


def write_json(path, value):
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n")


def write_samples(model, images, labels):
    folder = HERE / "samples"
    folder.mkdir(exist_ok=True)
    chosen = [int(i) for digit in range(10) for i in (labels == digit).nonzero()[:2, 0]]
    names, expected = {}, {}
    for number, i in enumerate(chosen, 1):
        name = f"{number:02d}.json"
        tensor = {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": images[i].flatten().tolist()}
        write_json(folder / name, {"model": "digits", "inputs": [tensor]})
        names[name] = int(labels[i])
        with torch.no_grad():
            expected[name] = [float(f"{p:.8g}") for p in model(images[i:i + 1])[0]]
    write_json(folder / "labels.json", names)
    write_json(folder / "expected.json", expected)


def main():
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    fit, select, held = split()
    model, selected, epoch = train(fit, select)
    print(f"fitted on {len(fit[0])}, epoch {epoch} of {EPOCHS} selected on {len(select[0])}: {selected:.4f}")
    print(f"held back: {accuracy(model, *held):.4f} of {len(held[0])}")
    write_model(model)
    (HERE / "labels.txt").write_text("".join(f"{digit}\n" for digit in range(10)))
    write_samples(model, *held)


if __name__ == "__main__":
    main()
