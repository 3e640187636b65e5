"""Builds testdata/prototype: a library folder as the Python prototype leaves it.

Its own DDL and JSON, paths relative to the working directory, opaque artifacts,
and the faults that were seen in the field. Run it from testdata/.
"""
import hashlib, json, os, shutil, sqlite3

ROOT = "var/urza"
shutil.rmtree("prototype", ignore_errors=True)
os.makedirs(f"prototype/{ROOT}")
os.chdir("prototype")
db = sqlite3.connect(f"{ROOT}/catalog.db")
db.execute(
    "CREATE TABLE blueprints (\n\tblueprint_id VARCHAR NOT NULL, \n\tname VARCHAR NOT NULL, \n\ttier VARCHAR NOT NULL, "
    "\n\tartifact_path VARCHAR NOT NULL, \n\tmetadata_json TEXT NOT NULL, \n\tPRIMARY KEY (blueprint_id)\n)"
)


def add(number, name, tier="BLUEPRINT_TIER_SAFE", descriptor=None, extras=None, content=True, metadata=None):
    blueprint = f"BP{number:03d}"
    path = f"{ROOT}/{blueprint}.pt"
    data = f"PK\x03\x04 opaque kernel of {blueprint}".encode()
    if content:
        with open(path, "wb") as f:
            f.write(data)
    if extras is not None and extras.get("checksum") == "right":
        extras["checksum"] = hashlib.sha256(data).hexdigest()
    value = {"blueprint_id": blueprint, "name": name, "tier": "BLUEPRINT_TIER_SAFE", **(descriptor or {})}
    if extras is not None:
        value["_urza"] = extras
    text = json.dumps(value) if metadata is None else metadata
    db.execute("INSERT INTO blueprints VALUES (?, ?, ?, ?, ?)", (blueprint, name, tier, path, text))


guard = "c0e3ed3adc7800b37bf6f90a7156046c87111dcef83232afad8a9e0addde055f"
nan, inf = float("nan"), float("inf")
add(1, "identity_passthrough", descriptor={"description": "Identity pass-through block"}, extras={
    "guard_digest": guard, "prewarm_samples": [24.0], "artifact_mtime": 1758000000.25, "checksum": "right",
    "compile_ms": 12.5, "prewarm_ms": 24.0, "guard_spec_summary": ["float32[8x32]"], "tags": ["Safe", "漢字"]})
add(2, "linear_projection", descriptor={
    "risk": 0.1, "description": "Linear projection layer", "allowed_parameters": {"scale": {"min_value": 0.5, "max_value": 2.0}},
    "a_later_field": 7}, extras={
    "guard_digest": None, "prewarm_samples": [10.0, nan, 20.0, inf, 30.0], "checksum": "right", "compile_ms": nan,
    "note": "the words NaN and \"Infinity\" in a string stay", "graph_metadata": json.dumps({
        "layers": [{"latency_ms": nan}], "parameters": [{"name": "scale", "min": 0.5, "max": 2.0}], "capabilities": {}})})
add(3, "layer_norm_basic", descriptor={"risk": 0.1})
add(4, "dropout_light", extras={"checksum": "right"}, content=False)
add(5, "relu_activation", metadata='{"blueprint_id": "BP005", ')
add(6, "batch_norm_1d", tier="1", extras={"checksum": "right"})
add(7, "pooling_max", extras={"checksum": "0" * 64, "guard_digest": guard})
add(36, "moe_router", tier="BLUEPRINT_TIER_EXPERIMENTAL", descriptor={"stage": 3}, extras={"checksum": "right"})
db.commit()
db.close()
