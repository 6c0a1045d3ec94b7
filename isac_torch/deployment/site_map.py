"""A map of networks and their powers as one HTML file: SVG, without a script. What is pointed at says its numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np

if TYPE_CHECKING:
    from isac_torch.deployment.allocated import Allocated
    from isac_torch.deployment.snapshot import Snapshot

_WIDTH, _MARGIN = 900.0, 40.0
_UE, _TARGET, _TX, _RX = "#0072B2", "#D55E00", "#1b1f24", "#009E73"
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:1rem auto;padding:0 1rem}"
    "svg{width:100%;height:auto;border:1px solid #d9dee4}"
)
_SAYS = (
    "Triangles are APs and point where the array looks: black ones transmit, green ones listen, as squares do. Blue: UEs and "
    "the power that serves them; orange: targets and the power that illuminates them. A line's width grows with the square "
    "root of its power. Point at anything for its numbers."
)


def map_page(snapshots: Sequence[Snapshot], answers: Sequence[Allocated]) -> bytes:
    """One picture for each network and its answer, in the order given."""
    page = Element("html", lang="en")
    head, body = SubElement(page, "head"), SubElement(page, "body")
    SubElement(head, "meta", charset="utf-8")
    SubElement(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    SubElement(head, "title").text = "Powers at the site"
    SubElement(head, "style").text = _STYLE
    SubElement(body, "h1").text = "Powers at the site"
    SubElement(body, "p").text = _SAYS
    for index, (snapshot, answer) in enumerate(zip(snapshots, answers, strict=True)):
        SubElement(body, "h2").text = f"Network {index}"
        SubElement(body, "p").text = _summary(answer)
        body.append(_picture(snapshot, answer))
    return b"<!doctype html>\n" + tostring(page, encoding="utf-8", method="html") + b"\n"


def _summary(answer: Allocated) -> str:
    smallest = 10.0 * math.log10(max(float(answer.sinr.min()), 1e-30))
    found = f"Answered by the {answer.path}: smallest SINR {smallest:.1f} dB, {float(answer.power.sum()):.2f} W altogether."
    return f"{found} {answer.reason}".strip()


def _picture(snapshot: Snapshot, answer: Allocated) -> Element:
    place = {name: np.asarray(getattr(snapshot, f"{name}_position"), dtype=float) for name in ("tx", "rx", "ue", "target")}
    place = {name: points.reshape(-1, 3)[:, :2] for name, points in place.items() if points.size}
    everything = np.concatenate(list(place.values()))
    low, extent = everything.min(0), max(float(np.ptp(everything, axis=0).max()), 1.0)
    scale = (_WIDTH - 2.0 * _MARGIN) / extent
    height = float(np.ptp(everything[:, 1])) * scale + 2.0 * _MARGIN

    def at(point: Any) -> tuple[float, float]:
        """Pixels of a position, north up."""
        x, y = (point - low) * scale + _MARGIN
        return float(x), height - float(y)

    svg = Element("svg", viewBox=f"0 0 {_WIDTH:.0f} {height:.0f}", role="img")
    for ap, kind, index, power in zip(answer.link_ap, answer.owner_kind, answer.owner_index, answer.power, strict=True):
        (x1, y1), (x2, y2) = at(place["tx"][ap]), at(place[kind][index])
        line = {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "stroke-width": 0.3 + 7.0 * math.sqrt(max(float(power), 0.0))}
        colour = _UE if kind == "ue" else _TARGET
        shape = SubElement(svg, "line", _text(line), stroke=colour, opacity="0.55")
        _says(shape, f"AP {ap} to {_named(kind)} {index}: {float(power):.4g} W")
    sent = np.bincount(answer.link_ap, answer.power, minlength=len(place["tx"]))
    listening = set(answer.receive_ap.tolist())
    for index, point in enumerate(place["tx"]):
        role = "listens" if index in listening else f"sends {sent[index]:.4g} W"
        angle = float(np.asarray(snapshot.tx_orientation)[index])
        _array(svg, at(point), angle, _RX if index in listening else _TX, f"AP {index}: {role}")
    for index, point in enumerate(place.get("rx", ())):
        x, y = at(point)
        square = _text({"x": x - 7.0, "y": y - 7.0, "width": 14.0, "height": 14.0})
        _says(SubElement(svg, "rect", square, fill=_RX, stroke="white"), f"receive AP {index}")
    for kind, colour, quality in (("ue", _UE, answer.sinr), ("target", _TARGET, answer.sir)):
        for index, point in enumerate(place.get(kind, ())):
            x, y = at(point)
            name = "SINR" if kind == "ue" else "sensing SIR"
            known = f", {name} {10.0 * math.log10(quality[index]):.1f} dB" if _known(quality, index) else ""
            shape = SubElement(svg, "circle", _text({"cx": x, "cy": y, "r": 6.0}), fill=colour, stroke="white")
            _says(shape, f"{_named(kind)} {index}{known}")
    return svg


def _array(svg: Element, place: tuple[float, float], angle: float, colour: str, says: str) -> None:
    """A triangle whose tip points along the broadside of the array (azimuth, rad, counted from east to north)."""
    degrees = math.degrees(angle) % 360.0
    shape = SubElement(svg, "polygon", points="13,0 -8,-8 -8,8", fill=colour, stroke="white")
    shape.set("transform", f"translate({place[0]:.1f} {place[1]:.1f}) rotate({-degrees:.1f})")
    _says(shape, f"{says}, looks towards {degrees:.0f} degrees from east to north")


def _says(shape: Element, text: str) -> None:
    SubElement(shape, "title").text = text


def _text(values: dict[str, float]) -> dict[str, str]:
    return {name: f"{value:.1f}" for name, value in values.items()}


def _named(kind: str) -> str:
    return "UE" if kind == "ue" else kind


def _known(quality: Any, index: int) -> bool:
    return bool(index < len(quality) and 0.0 < quality[index] < math.inf)
