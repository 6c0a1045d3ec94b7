"""Positions from CSV and GeoJSON: the plane against an independent formula, and one clear line for every slip."""

import json
import math

import numpy as np
import pytest
import torch

from isac_torch.deployment.files import read_snapshots
from isac_torch.deployment.geometry import Geometry, parse_geometry, read_geometry, tangent_plane
from isac_torch.deployment.importing import import_geometry, read_gains, snapshot_of
from isac_torch.deployment.open_roles import OpenRoles, receive_mask
from isac_torch.errors import DropError, GeometryError
from isac_torch.propagation.geometry import distance
from isac_torch.propagation.path_loss import umi_nlos_gain
from isac_torch.tracking.roles import farthest_point, nearest_to_target
from tests.oracles import roles as loop
from tests.paths import ROOT

SITES = ROOT / "examples" / "sites.csv"
PLANE = "kind,x,y,z,orientation_deg\ntx,0,0,10,90\nrx,100,0,10,0\nue,50,20,1.65,\ntarget,40,40,60,\ntarget,80,20,30,\n"


def vincenty(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Geodesic distance (m) on WGS 84 between (latitude, longitude) pairs in degrees, by Vincenty's inverse formula."""
    radius, flat = 6_378_137.0, 1 / 298.257223563
    minor = radius * (1 - flat)
    u1, u2 = (math.atan((1 - flat) * math.tan(math.radians(p[0]))) for p in (a, b))
    difference = math.radians((b[1] - a[1] + 180) % 360 - 180)
    lam = difference
    for _ in range(100):
        x = math.cos(u2) * math.sin(lam)
        y = math.cos(u1) * math.sin(u2) - math.sin(u1) * math.cos(u2) * math.cos(lam)
        sin_sigma = math.hypot(x, y)
        cos_sigma = math.sin(u1) * math.sin(u2) + math.cos(u1) * math.cos(u2) * math.cos(lam)
        sigma = math.atan2(sin_sigma, cos_sigma)
        sin_alpha = math.cos(u1) * math.cos(u2) * math.sin(lam) / sin_sigma
        cos2 = 1 - sin_alpha**2
        cos2m = cos_sigma - 2 * math.sin(u1) * math.sin(u2) / cos2
        c = flat / 16 * cos2 * (4 + flat * (4 - 3 * cos2))
        lam = difference + (1 - c) * flat * sin_alpha * (sigma + c * sin_sigma * (cos2m + c * cos_sigma * (2 * cos2m**2 - 1)))
    us = cos2 * (radius**2 - minor**2) / minor**2
    big_a = 1 + us / 16384 * (4096 + us * (us * (320 - 175 * us) - 768))
    big_b = us / 1024 * (256 + us * (us * (74 - 47 * us) - 128))
    delta = big_b * sin_sigma * (cos2m + big_b / 4 * cos_sigma * (2 * cos2m**2 - 1))
    return minor * big_a * (sigma - delta)


@pytest.mark.parametrize("centre", [(45.07, 7.69), (0.1, 179.999), (-33.9, 151.2), (69.6, 18.9), (89.9, 0.0)])
def test_plane_keeps_distances(centre):
    # Within about 2 km the plane, the ellipsoid's geodesic and the chord agree to a part in 10^7.
    rng = np.random.default_rng(5)
    latitude = centre[0] + rng.uniform(-8e-3, 8e-3, 6)
    longitude = centre[1] + rng.uniform(-8e-3, 8e-3, 6) / max(math.cos(math.radians(centre[0])), 0.1)
    longitude = (longitude + 180.0) % 360.0 - 180.0
    position, origin = tangent_plane(latitude, longitude)
    assert abs(origin[0] - latitude.mean()) < 1e-3
    for i in range(6):
        for j in range(i):
            expected = vincenty((latitude[i], longitude[i]), (latitude[j], longitude[j]))
            assert np.linalg.norm(position[i] - position[j]) == pytest.approx(expected, rel=5e-7, abs=1e-4)


def test_axes_point_east_and_north():
    position, _ = tangent_plane(np.array([10.0, 10.0, 10.001]), np.array([20.0, 20.001, 20.0]))
    east, north = position[1] - position[0], position[2] - position[0]
    assert east[0] > 100 > 1 > abs(east[1])
    assert north[1] > 100 > 1 > abs(north[0])


def test_example_becomes_a_network():
    (network,) = read_geometry(SITES)
    assert network.ap_kind == ("tx",) * 6 + ("rx",) * 2
    assert network.origin == pytest.approx((45.07, 7.687), abs=2e-3)
    # Bearing 45 degrees (north-east) is azimuth 45 degrees, bearing 0 (north) is azimuth 90 degrees.
    np.testing.assert_allclose(network.ap_orientation[[0, 4]], [math.pi / 4, math.pi / 2], rtol=1e-12)
    np.testing.assert_allclose(network.ue_position[:, 2], 1.65)
    snapshot = snapshot_of(network, ap_power=1.5)
    snapshot.check()
    assert (snapshot.num_aps, snapshot.num_ues, snapshot.num_targets) == (6, 6, 3)
    assert snapshot.ap_power is not None
    assert snapshot.ap_power.tolist() == [1.5] * 6


def test_geojson_says_the_same_as_csv():
    (csv,) = read_geometry(SITES)
    lines = [line.split(",") for line in SITES.read_text().splitlines()[1:]]
    features = []
    for name, kind, latitude, longitude, height, bearing in lines:
        point = [float(longitude), float(latitude)] + ([float(height)] if height else [])
        properties = {"name": name, "kind": kind} | ({"bearing_deg": float(bearing)} if bearing else {"bearing_deg": None})
        features.append({"type": "Feature", "geometry": {"type": "Point", "coordinates": point}, "properties": properties})
    text = json.dumps({"type": "FeatureCollection", "features": features})
    (geojson,) = parse_geometry(text, name="x", geojson=True)
    for field in ("ap_position", "ap_orientation", "ue_position", "target_position"):
        np.testing.assert_array_equal(getattr(csv, field), getattr(geojson, field))


def test_several_snapshots_keep_their_order():
    text = "snapshot,kind,x,y,z\nb,tx,0,0,10\na,tx,1,1,9\nb,ue,5,5,1\na,ue,6,6,2\n"
    networks = parse_geometry(text, name="x", geojson=False)
    assert [network.name for network in networks] == ["b", "a"]
    assert networks[1].ap_position.tolist() == [[1, 1, 9]]


def test_roles_left_open_follow_the_scenario():
    rng = np.random.default_rng(7)
    position = np.column_stack([rng.uniform(0, 700, (16, 2)), np.full(16, 10.0)])
    network = Geometry("", position, np.zeros(16), ("ap",) * 16, np.zeros((0, 3)), np.zeros((0, 3)), None)
    chosen = farthest_point(torch.tensor(position)[None], torch.tensor(position.mean(0)), 4)
    assert np.flatnonzero(receive_mask(network, OpenRoles())).tolist() == sorted(chosen[0].tolist())


OPEN = "kind,x,y,z\n" + "".join(f"ap,{x},{y},10\n" for x in (0, 150, 300) for y in (0, 150, 300))
OPEN += "".join(f"ue,{x},{y},1.65\n" for x, y in ((10, 10), (20, 140), (290, 280), (160, 20)))
OPEN += "target,140,260,60\ntarget,30,200,50\n"


@pytest.mark.parametrize("rule", ["nearest_to_target", "least_used", "weakest_ue"])
def test_open_roles_follow_the_rule_that_is_asked_for(rule, tmp_path, capsys):
    (tmp_path / "a.csv").write_text(OPEN)
    import_geometry(tmp_path / "a.csv", tmp_path / "out.json", roles=OpenRoles(rule, 3, 1.5), serving_aps=2)
    (snapshot,) = read_snapshots(tmp_path / "out.json")
    (network,) = read_geometry(tmp_path / "a.csv")
    gap = distance(network.target_position, network.ap_position)
    gain = umi_nlos_gain(distance(network.ue_position, network.ap_position), 2e9)
    default = farthest_point(network.ap_position[None], network.ap_position.mean(0), 3)[0]
    expected = {
        "nearest_to_target": lambda: set(nearest_to_target(gap[None], 3)[0].tolist()),
        "least_used": lambda: set(loop.least_used(gain, 3)),
        "weakest_ue": lambda: loop.weakest_ue(gain, gap, default.tolist(), 2, 1.5),
    }[rule]()
    np.testing.assert_array_equal(snapshot.rx_position, network.ap_position[sorted(expected)])
    assert f"3 receive APs (of the APs, counted from 0: {', '.join(map(str, sorted(expected)))})" in capsys.readouterr().err


def test_roles_nobody_can_have_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text(OPEN)
    (network,) = read_geometry(tmp_path / "a.csv")
    for options, says in (
        ({"num_receive_aps": 9}, "num_receive_aps=9 of 9 APs"),
        ({"num_receive_aps": 0}, "num_receive_aps=0"),
        ({"receive_selection": "nearest"}, "must be one of farthest_point, nearest_to_target"),
        ({"receive_reach": float("nan")}, "receive_reach=nan"),
    ):
        with pytest.raises(GeometryError, match=says):
            receive_mask(network, OpenRoles(**options))


def test_gains_follow_the_order_of_the_file(tmp_path):
    (tmp_path / "a.csv").write_text("kind,x,y\ntx,0,0\nrx,100,0\ntx,200,0\nue,50,20\nue,60,10\n")
    (tmp_path / "g.csv").write_text("-80,-inf,-90\n-100,-70,-110\n")
    import_geometry(tmp_path / "a.csv", tmp_path / "out.json", gains_db=tmp_path / "g.csv", sir_min_db=-3.0)
    (snapshot,) = read_snapshots(tmp_path / "out.json")
    np.testing.assert_allclose(snapshot.ue_gain, [[1e-8, 1e-9], [1e-10, 1e-11]], rtol=1e-12)
    assert snapshot.sir_min_db == -3.0
    (network,) = read_geometry(tmp_path / "a.csv")
    for text, says in (
        ("-80,-90\n", "1 rows x 2 columns"),
        ("3,1,1\n1,1,1\n", "negative"),
        ("nan,1,a\n1,1,1\n", "is no number"),
    ):
        (tmp_path / "g.csv").write_text(text)
        with pytest.raises(GeometryError, match=says):
            read_gains(tmp_path / "g.csv", network)


def test_import_writes_what_allocate_reads(tmp_path, capsys):
    import_geometry(SITES, tmp_path / "out.json", num_antennas=8)
    assert "6 transmit APs, 2 receive APs, 6 UEs, 3 targets" in capsys.readouterr().err
    (snapshot,) = read_snapshots(tmp_path / "out.json")
    expected = snapshot_of(read_geometry(SITES)[0], num_antennas=8)
    for name in ("tx_position", "tx_orientation", "rx_position", "ue_position", "target_position"):
        np.testing.assert_array_equal(getattr(snapshot, name), getattr(expected, name))
    assert snapshot.num_antennas == 8
    with pytest.raises(DropError, match="carrier_frequency"):
        import_geometry(SITES, tmp_path / "out.json", carrier_frequency=2.0)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("kind,", "knd,", "'kind'"),
        ("kind,", "sort,", "no column 'kind'"),
        ("orientation_deg", "orientaton_deg", "orientation_deg"),
        ("x,y,z", "x,x,z", "twice"),
        ("tx,0,0,10,90", "tx,0,0,10", "line 2: not as many cells"),
        ("tx,0,0,10,90", "tx,0,0,10,90,7", "line 2: not as many cells"),
        ("tx,0,0,10,90", "bs,0,0,10,90", "line 2: kind='bs'"),
        ("tx,0,0,10,90", "tx,nan,0,10,90", "line 2: x='nan'"),
        ("tx,0,0,10,90", "tx,1e999,0,10,90", "line 2: x='1e999'"),
        ("tx,0,0,10,90", "tx,zero,0,10,90", "line 2: x='zero'"),
        ("tx,0,0,10,90", "tx,,0,10,90", "line 2: give x and y"),
        ("tx,0,0,10,90", "tx,9e5,0,10,90", "km from the middle"),
        ("target,40,40,60,", "target,40,40,,", "line 5: a target needs its height"),
        (PLANE, "", "'kind'"),
        (PLANE, "kind,x,y\n", "no rows"),
        (PLANE, 'kind,x,y\n"tx,0,0\n', "not CSV"),
        (PLANE, "kind,latitude,longitude\ntx,91,0\n", "latitude=91"),
        (PLANE, "kind,latitude,longitude,x,y\ntx,1,0,,\nue,,,3,4\n", "metres and rows in degrees"),
    ],
)
def test_slips_are_refused_in_one_line(old, new, says):
    with pytest.raises(GeometryError, match=says) as error:
        parse_geometry(PLANE.replace(old, new), name="file", geojson=False)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "3", "{}", '{"features": 3}', "[" * 100_000, '{"features": [3]}', '{"features": [{}]}'])
def test_no_geojson(text):
    with pytest.raises(GeometryError):
        parse_geometry(text, name="file", geojson=True)


def test_mixed_roles_are_refused():
    (network,) = parse_geometry("kind,x,y\nap,0,0\ntx,5,5\n", name="file", geojson=False)
    with pytest.raises(GeometryError, match="all of them"):
        receive_mask(network, OpenRoles())


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(GeometryError, match="No such file"):
        read_geometry(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(GeometryError, match="UTF-8"):
        read_geometry(tmp_path / "b.csv")
