"""Signatures: the same form as the reference library's, and nothing that was not signed is served."""

import base64
import hashlib
import json
import shutil

import model_signing
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from cerebeam.compliance.sign import main
from service.answering.house import House
from service.registry.sources import sources
from service.settings import load_settings
from serving.model import open_model
from serving.signature import PRIVATE, PUBLIC, SIGNATURE, SignatureError, make_keys, sign, verify
from signals.bundles.bundle import BundleError, _digest, load_bundle
from tests.small_bundle import write_small_bundle


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with keys and two bundles, the first signed."""
    root = tmp_path_factory.mktemp("signed")
    make_keys(root / "keys")
    write_small_bundle(root / "bundle", seed=0)
    write_small_bundle(root / "other", seed=1)
    sign(load_bundle(root / "bundle"), root / "keys" / PRIVATE)
    return root


@pytest.fixture
def signed(made, tmp_path):
    shutil.copytree(made, tmp_path / "made")
    return tmp_path / "made"


def check(root, name="bundle"):
    verify(load_bundle(root / name), root / "keys" / PUBLIC)


def test_the_reference_verifies_ours(signed):
    check(signed)
    config = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=signed / "keys" / PUBLIC)
    config.verify(signed / "bundle", signed / "bundle" / SIGNATURE)
    (signed / "bundle" / "README.md").write_text("another card")
    with pytest.raises(ValueError):
        config.verify(signed / "bundle", signed / "bundle" / SIGNATURE)


def test_we_verify_the_reference(signed):
    path = signed / "other"
    config = model_signing.signing.Config().use_elliptic_key_signer(private_key=signed / "keys" / PRIVATE)
    config.sign(path, path / SIGNATURE)
    check(signed, "other")


def replace_weights(root):
    """Another bundle's graph, with a bundle.json that states its digest: whole in itself, but never signed."""
    for name in ("model.onnx", "bundle.json"):
        shutil.copy(root / "other" / name, root / "bundle" / name)


def raise_threshold(root):
    """Calibration made milder, with both digests of bundle.json computed again."""
    path = root / "bundle" / "bundle.json"
    about = json.loads(path.read_text())
    about["calibration"]["abstain_below"] = 0.0
    about["digest"] = _digest(about)
    path.write_text(json.dumps(about))


def change(content, **fields):
    content["dsseEnvelope"] |= fields


def forge_statement(root):
    """The statement names the new weights; the signature is the old one."""
    replace_weights(root)
    path = root / "bundle" / SIGNATURE
    content = json.loads(path.read_text())
    payload = json.loads(base64.b64decode(content["dsseEnvelope"]["payload"]))
    for row in payload["predicate"]["resources"]:
        row["digest"] = hashlib.sha256((root / "bundle" / row["name"]).read_bytes()).hexdigest()
    change(content, payload=base64.b64encode(json.dumps(payload).encode()).decode())
    path.write_text(json.dumps(content))


def of_another_key(root):
    make_keys(root / "mine")
    replace_weights(root)
    sign(load_bundle(root / "bundle"), root / "mine" / PRIVATE)


def no_signatures(root):
    path = root / "bundle" / SIGNATURE
    content = json.loads(path.read_text())
    change(content, signatures=[])
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("attack", "problem"),
    [
        (replace_weights, "is not the one that was signed"),
        (raise_threshold, "is not the one that was signed"),
        (forge_statement, "not made with this key, or was changed"),
        (of_another_key, "not made with this key, or was changed"),
        (no_signatures, "is damaged"),
        (lambda root: (root / "bundle" / SIGNATURE).unlink(), "is not signed"),
        (lambda root: (root / "bundle" / SIGNATURE).write_text("[]"), "is damaged"),
        (lambda root: (root / "bundle" / SIGNATURE).write_text("{"), "is damaged"),
    ],
)
def test_what_was_not_signed_is_neither_opened_nor_served(signed, attack, problem):
    open_model(signed / "bundle", public_key=signed / "keys" / PUBLIC)
    attack(signed)
    with pytest.raises(SignatureError, match=problem):
        check(signed)
    load_bundle(signed / "bundle")  # whole by its own digests: the signature alone notices
    with pytest.raises(BundleError, match=problem):
        open_model(signed / "bundle", public_key=signed / "keys" / PUBLIC)
    settings = load_settings(
        overrides=[f"models.bundles=[{signed / 'bundle'}]", f"models.public_key={signed / 'keys' / PUBLIC}"],
        environment={},
    )
    with pytest.raises(BundleError, match=problem):
        House(sources(settings.models), public_key=settings.models.public_key)


def test_a_file_exchanged_after_the_check_is_not_read(signed):
    bundle = load_bundle(signed / "bundle")
    verify(bundle, signed / "keys" / PUBLIC)
    shutil.copy(signed / "other" / "model.onnx", signed / "bundle" / "model.onnx")
    with pytest.raises(BundleError, match="changed while it was read"):
        bundle.read("model.onnx")


def test_a_reload_of_an_unsigned_bundle_changes_nothing(signed):
    house = House({"bundle": lambda: signed / "bundle"}, public_key=signed / "keys" / PUBLIC)
    try:
        before = house.owner().model.digest
        replace_weights(signed)
        with pytest.raises(BundleError):
            house.reload("bundle")
        assert house.owner().model.digest == before
    finally:
        house.close()


def test_keys(signed, tmp_path):
    with pytest.raises(SignatureError, match="never overwritten"):
        make_keys(signed / "keys")
    assert (signed / "keys" / PRIVATE).stat().st_mode & 0o777 == 0o600
    bundle = load_bundle(signed / "bundle")
    (signed / "keys" / PRIVATE).chmod(0o604)
    with pytest.raises(SignatureError, match="may be read by everybody"):
        sign(bundle, signed / "keys" / PRIVATE)
    for key in (ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()):
        path = tmp_path / "key.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        with pytest.raises(SignatureError, match="no P-256 private key"):
            sign(bundle, path)
    for content in (b"", b"key", (signed / "bundle" / "bundle.json").read_bytes()):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(SignatureError, match="no key in PEM form"):
            verify(bundle, tmp_path / "x")


def test_commands(signed, capsys):
    keys, bundle = signed / "new", str(signed / "other")
    assert main(["keys", str(keys)]) == 0
    assert main(["verify", bundle, "--public-key", str(keys / PUBLIC)]) == 1
    assert main(["bundle", bundle, "--private-key", str(keys / PRIVATE)]) == 0
    assert main(["verify", bundle, "--public-key", str(keys / PUBLIC)]) == 0
    out, err = capsys.readouterr()
    assert "signed, 2 files" in out  # model.onnx and bundle.json
    assert err.count("\n") == 1
    assert main(["verify", str(signed / "keys"), "--public-key", str(keys / PUBLIC)]) == 1
    assert main(["verify", bundle, "--public-key", str(signed / "nothing")]) == 1
    assert capsys.readouterr().err.count("\n") == 2
