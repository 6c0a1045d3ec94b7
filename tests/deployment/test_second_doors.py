"""Numbers that come in by side doors are held to the same rules: tables of spreadsheets, headings with units, MATLAB's HDF5."""

import json

import h5py
import numpy as np
import pytest

from isac_torch.deployment.cells import parse_number
from isac_torch.deployment.downlink_pilots.snapshot import EXAMPLE as ROAD
from isac_torch.deployment.downlink_pilots.snapshot import RoadSnapshot
from isac_torch.deployment.files import decode_snapshots, read_snapshots
from isac_torch.deployment.geometry import parse_geometry, read_geometry
from isac_torch.deployment.importing import import_geometry, read_gains
from isac_torch.deployment.snapshot_fields import SHAPES
from isac_torch.errors import DropError, GeometryError
from tests.paths import ROOT

EXAMPLE = json.loads((ROOT / "examples" / "drop.json").read_text())
SITES = "kind,x,y,{0}\ntx,0,0,10\ntx,50,0,12\nrx,100,0,10\nue,50,20,1.5\ntarget,40,40,60\n"


def positions(text: str) -> np.ndarray:
    (network,) = parse_geometry(text, name="file", geojson=False)
    return np.concatenate([network.ap_position, network.ue_position, network.target_position])


def test_spreadsheets_with_semicolons_and_decimal_commas():
    commas = "kind,x,y,z\ntx,0,0,12.5\nrx,100.5,0,12.5\nue,50,50.25,1.65\n"
    semicolons = "kind;x;y;z\ntx;0;0;12,5\nrx;100,5;0;12,5\nue;50;50,25;1,65\n"
    np.testing.assert_array_equal(positions(semicolons), positions(commas))
    np.testing.assert_array_equal(positions(commas + ",,,\n , ,,\n"), positions(commas))
    np.testing.assert_array_equal(positions(semicolons.replace(",", ".")), positions(commas))
    with pytest.raises(GeometryError, match=r"line 3: x='1\.000,5'"):
        positions(semicolons.replace("100,5", "1.000,5"))


@pytest.mark.parametrize("cell", ["12_5", "١٢", "1e", "0x10", "nan", "inf", "1,5", "1e999", "--5", "+", ".", "1e99999", ""])
def test_what_python_takes_for_a_number_is_not_one(cell):
    assert parse_number(cell) is None
    with pytest.raises(GeometryError, match="give x and y" if not cell else "line 2: x="):
        positions(f'kind,x,y\ntx,"{cell}",0\nue,1,1\n')


@pytest.mark.parametrize("cell", ["-12.5", "+.5", "7.", "1e3", "1.5E-3", "007"])
def test_plain_numbers(cell):
    assert parse_number(cell) == float(cell)
    assert parse_number(cell.replace(".", ","), decimal_comma=True) == (None if cell == "7." else float(cell))


@pytest.mark.parametrize(
    "heading", ["height", "Height", "height (m)", "height [m]", "height_m", "HEIGHT (metres)", "z (m)", "z"]
)
def test_headings_with_their_unit_are_understood(heading):
    np.testing.assert_array_equal(positions(SITES.format(heading)), positions(SITES.format("height")))


def test_bearings_with_their_unit_are_understood():
    for heading in ("bearing (deg)", "bearing [°]", "Bearing_deg", "bearing degrees"):
        (network,) = parse_geometry(f"kind,x,y,{heading}\ntx,0,0,90\nue,5,5,\n", name="file", geojson=False)
        assert network.ap_orientation.tolist() == [0.0]


@pytest.mark.parametrize(
    ("heading", "name"),
    [
        ("altitude", "height"),
        ("Altitude (m)", "height"),
        ("elevation", "height"),
        ("height (ft)", "height"),
        ("height_ft", "height"),
        ("height above sea level", "height"),
        ("heigth", "height"),
        ("bearing", "bearing_deg"),
        ("azimuth_rad", "bearing_deg"),
        ("orientation", "orientation_deg"),
        ("orientaton_deg", "orientation_deg"),
    ],
)
def test_what_a_refused_heading_is_told_to_be_called_works(heading, name):
    text = SITES.replace("{0}", "z,{0}") if name.endswith("_deg") else SITES
    text = text.replace("10\n", "10,0\n") if name.endswith("_deg") else text
    text = text.replace(",12\n", ",12,0\n").replace("1.5\n", "1.5,\n").replace("60\n", "60,\n") if "_deg" in name else text
    with pytest.raises(GeometryError, match=f"call it {name!r}") as error:
        positions(text.format(heading))
    assert "\n" not in str(error.value)
    positions(text.format(name))


def test_a_remedy_never_names_a_column_that_is_there():
    text = "name,kind,latitude,longitude,altitude\na,tx,48.1,11.5,20\nb,rx,48.101,11.501,25\nu,ue,48.1,11.5,1.5\n"
    with pytest.raises(GeometryError, match="call it 'height'"):
        positions(text)
    np.testing.assert_array_equal(positions(text.replace("altitude", "height"))[:, 2], [20, 25, 1.5])
    with pytest.raises(GeometryError, match="remove it: there is a column 'height' already"):
        positions(text.replace("altitude", "altitude,height").replace("0\n", "0,0\n").replace("5\n", "5,5\n"))
    with pytest.raises(GeometryError, match="twice"):
        positions("kind,x,y,height,height (m)\ntx,0,0,1,1\n")


def geojson(*points: tuple[str, list[object], dict[str, object]]) -> str:
    features = [
        {"type": "Feature", "properties": {"kind": kind} | more, "geometry": {"type": "Point", "coordinates": where}}
        for kind, where, more in points
    ]
    return json.dumps({"type": "FeatureCollection", "features": features})


def test_an_altitude_of_null_is_left_out():
    points = [("tx", [11.5, 48.1, None], {}), ("rx", [11.501, 48.1], {}), ("ue", [11.5005, 48.1005, None], {"height": 3.0})]
    (network,) = parse_geometry(geojson(*points), name="file", geojson=True)
    assert network.ap_position[:, 2].tolist() == [10.0, 10.0]
    assert network.ue_position[:, 2].tolist() == [3.0]
    with pytest.raises(GeometryError, match="call it 'height'"):
        parse_geometry(geojson(("tx", [11.5, 48.1], {"altitude": 20})), name="file", geojson=True)
    with pytest.raises(GeometryError, match="twice"):
        parse_geometry(geojson(*points).replace('"kind"', '"kind": "ue", "kind"', 1), name="file", geojson=True)


def test_gains_of_a_spreadsheet_and_pairs_without_a_path(tmp_path, capsys):
    sites, gains, out = tmp_path / "s.csv", tmp_path / "g.csv", tmp_path / "out.json"
    rows = "".join(f"tx,{x},0,10\n" for x in range(0, 500, 100))
    sites.write_text(f"kind,x,y,z\n{rows}ue,20,20,1.5\nue,380,20,1.5\n")
    gains.write_text("-80,-95,-inf,-inf,-inf\n-inf,-inf,-inf,-95,-80\n")
    import_geometry(sites, out, gains, serving_aps=2, sensing_aps=1, listening_aps=1, pilot_power=1e-3)
    (snapshot,) = read_snapshots(out)
    snapshot.check()
    assert snapshot.pilot_power is not None
    assert snapshot.ue_gain is not None
    assert (snapshot.serving_aps, snapshot.pilot_power.tolist()) == (2, [1e-3, 1e-3])
    np.testing.assert_allclose(snapshot.ue_gain[0], [1e-8, 10**-9.5, 0.0, 0.0, 0.0])
    gains.write_text("-80,0;-95,5;-inf;-inf;-inf\n-inf;-inf;-inf;-95;-80\n")
    np.testing.assert_allclose(read_gains(gains, read_geometry(sites)[0])[0], [1e-8, 10**-9.55, 0.0, 0.0, 0.0])
    gains.write_text("-80,-9_5,-1,-1,-1\n-1,-1,-1,-95,-80\n")
    with pytest.raises(GeometryError, match=r"line 1: '-9_5' is no number"):
        read_gains(gains, read_geometry(sites)[0])


def test_an_ap_that_a_ue_does_not_hear_sends_it_nothing(tmp_path):
    from isac_torch.deployment.allocator import DeployedAllocator

    sites, gains, out = tmp_path / "s.csv", tmp_path / "g.csv", tmp_path / "out.json"
    rows = "".join(f"tx,{x},0,10\n" for x in range(0, 500, 100))
    sites.write_text(f"kind,x,y,z\n{rows}ue,20,20,1.5\nue,380,20,1.5\n")
    gains.write_text("-80,-95,-inf,-inf,-inf\n-inf,-inf,-inf,-95,-80\n")
    import_geometry(sites, out, gains)
    answer = DeployedAllocator.load()(read_snapshots(out)[0])
    heard = {0: {0, 1}, 1: {3, 4}}
    for power, ap, ue in zip(answer.power, answer.link_ap, answer.owner_index, strict=True):
        assert (power > 0) == (int(ap) in heard[int(ue)])


def test_a_ue_that_nobody_hears_is_allocated(tmp_path):
    from isac_torch.deployment.allocator import DeployedAllocator
    from isac_torch.deployment.snapshot import Snapshot

    gain = [[1e-9, 1e-10, 0.0], [0.0, 0.0, 0.0]]
    answer = DeployedAllocator.load()(Snapshot.from_mapping(EXAMPLE | {"ue_gain": gain}))
    assert np.isfinite(answer.power).all()


def write_matlab(path, **arrays: object) -> None:
    """What `save -v7.3` of MATLAB writes: a user block, axes in reverse order, single numbers 1 x 1, texts as codes."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in arrays.items():
            if isinstance(value, str):
                data = file.create_dataset(name, data=np.array([[ord(letter)] for letter in value], np.uint16))
                data.attrs["MATLAB_class"] = np.bytes_("char")
                continue
            array = np.asarray(value, float)
            array = array[:, None] if array.ndim == 1 else np.atleast_2d(array)
            while array.ndim > 2 and array.shape[-1] == 1:
                array = array[..., 0]
            if array.size:
                data = file.create_dataset(name, data=array.T)
            else:
                data = file.create_dataset(name, data=np.array(array.shape, np.uint64))
                data.attrs["MATLAB_empty"] = np.uint8(1)
            data.attrs["MATLAB_class"] = np.bytes_("double")
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM")


def assert_fields(snapshot, values) -> None:
    for name, value in values.items():
        found = getattr(snapshot, name)
        assert found == value if isinstance(value, str) else (np.asarray(found) == np.asarray(value)).all(), name
        if name in SHAPES:
            assert found.ndim == len(SHAPES[name])


@pytest.mark.parametrize("block", [0, 512, 1024, 4096])
def test_hdf5_behind_a_user_block(block, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=block) as file:
        for name, value in EXAMPLE.items():
            file[name] = np.asarray(value, float)
    (snapshot,) = read_snapshots(tmp_path / "a.h5")
    assert_fields(snapshot, EXAMPLE)


def test_matlab_files_are_read_with_their_axes_in_order(tmp_path):
    one = EXAMPLE | {"echo_gain": "product", "listening_ap": [[0], [0]], "ue_gain": [[1e-9, 2e-9, 3e-9], [4e-9, 5e-9, 6e-9]]}
    write_matlab(tmp_path / "one.mat", **one)
    (snapshot,) = read_snapshots(tmp_path / "one.mat")
    assert_fields(snapshot, one)
    alone = EXAMPLE | {"target_position": np.zeros((0, 3)), "ue_position": [[1.0, 2.0, 1.5]]}
    write_matlab(tmp_path / "alone.mat", **alone)
    (snapshot,) = read_snapshots(tmp_path / "alone.mat")
    assert snapshot.target_position.shape == (0, 3)
    assert snapshot.ue_position is not None
    assert snapshot.ue_position.tolist() == [[1.0, 2.0, 1.5]]


def test_a_batch_of_matlab(tmp_path):
    fields = {name: np.asarray(value) for name, value in EXAMPLE.items() if np.ndim(value)}
    batch = {name: np.stack([value, value + 1.0]) for name, value in fields.items()}
    write_matlab(tmp_path / "two.mat", **batch, listening_ap=np.zeros((2, 2, 1)), sir_min_db=[-5.0, -4.0], num_antennas=2)
    first, second = read_snapshots(tmp_path / "two.mat")
    assert_fields(first, EXAMPLE | {"num_antennas": 2})
    assert_fields(second, {name: value + 1.0 for name, value in fields.items()} | {"sir_min_db": -4.0})


def test_older_files_of_matlab_are_named():
    with pytest.raises(DropError, match=r"x: a MATLAB file of a version before 7\.3; save it again"):
        decode_snapshots(b"MATLAB 5.0 MAT-file, Platform".ljust(500), name="x")


def write_reversed(path, **arrays: object) -> None:
    """What h5create and h5write of MATLAB write: axes in reverse order, single numbers 1 x 1, and no mark."""
    with h5py.File(path, "w") as file:
        for name, value in arrays.items():
            file[name] = np.atleast_2d(np.asarray(value, float)).T


def test_axes_in_the_order_of_h5write_are_named_and_the_remedy_helps(tmp_path):
    write_reversed(tmp_path / "a.h5", **EXAMPLE)
    with pytest.raises(DropError, match=r"layout of MATLAB's h5write \(axes reversed\): save with .*'-v7\.3'") as error:
        read_snapshots(tmp_path / "a.h5")
    assert "\n" not in str(error.value)
    write_matlab(tmp_path / "a.h5", **EXAMPLE)
    (snapshot,) = read_snapshots(tmp_path / "a.h5")
    assert_fields(snapshot, EXAMPLE)


def test_roads_of_matlab_are_read_and_other_orders_of_axes_are_named(tmp_path):
    road = ROAD | {"gain": np.arange(24).reshape(3, 8) * 1e-12, "receiver": "projection", "pilot": [0, 1, 0]}
    write_matlab(tmp_path / "road.mat", **road)
    (found,) = read_snapshots(tmp_path / "road.mat", kind=RoadSnapshot)
    for name, value in road.items():
        assert np.array_equal(getattr(found, name), value), name
    write_matlab(tmp_path / "one.mat", **ROAD | {"ue_position": [[60, 35]], "crb_max": [2.0]})
    (found,) = read_snapshots(tmp_path / "one.mat", kind=RoadSnapshot)
    assert (found.ue_position.tolist(), np.asarray(found.crb_max).tolist()) == ([[60, 35]], [2.0])
    write_matlab(
        tmp_path / "two.mat", **{name: np.stack([value, value]) for name, value in ROAD.items()}, cross_section=[1.0, 2.0]
    )
    assert [road.cross_section for road in read_snapshots(tmp_path / "two.mat", kind=RoadSnapshot)] == [1.0, 2.0]
    write_reversed(tmp_path / "road.h5", **ROAD)
    with pytest.raises(DropError, match=r"layout of MATLAB's h5write \(axes reversed\): save with .*'-v7\.3'"):
        read_snapshots(tmp_path / "road.h5", kind=RoadSnapshot)


def test_a_mark_of_matlab_on_axes_of_python_is_named_and_the_remedy_helps(tmp_path):
    with h5py.File(tmp_path / "a.mat", "w") as file:
        for name, value in EXAMPLE.items():
            file[name] = np.asarray(value, float)
            file[name].attrs["MATLAB_class"] = np.bytes_("double")
    with pytest.raises(DropError, match="MATLAB's mark but not its order of axes: delete their attribute MATLAB_class"):
        read_snapshots(tmp_path / "a.mat")
    with h5py.File(tmp_path / "a.mat", "a") as file:
        for name in EXAMPLE:
            del file[name].attrs["MATLAB_class"]
    (snapshot,) = read_snapshots(tmp_path / "a.mat")
    assert_fields(snapshot, EXAMPLE)


def test_other_faults_of_hdf5_are_not_blamed_on_matlab(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, value in (EXAMPLE | {"ue_position": [[1.0, 2.0, 3.0, 4.0]]}).items():
            file[name] = np.asarray(value, float)
    with pytest.raises(DropError, match="ue_position") as error:
        read_snapshots(tmp_path / "a.h5")
    assert "MATLAB" not in str(error.value)
