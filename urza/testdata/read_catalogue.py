"""Reads one row the way the prototype does, with nothing but sqlite3 and json."""
import hashlib, json, sqlite3, sys


def refuse(token):
    raise ValueError(f"{token} is not JSON")


db = sqlite3.connect(sys.argv[1])
columns = "blueprint_id, name, tier, artifact_path, metadata_json"
query = f"SELECT {columns} FROM blueprints WHERE blueprint_id = ?"
blueprint_id, name, tier, path, text = db.execute(query, (sys.argv[2],)).fetchone()
metadata = json.loads(text, parse_constant=refuse)
extras = metadata.pop("_urza")
with open(path, "rb") as artifact:
    checksum = hashlib.sha256(artifact.read()).hexdigest()
assert checksum == extras["checksum"], "checksum"
assert (blueprint_id, name) == (metadata["blueprint_id"], metadata["name"]), "columns"
print(json.dumps({"tier": tier, "descriptor": metadata, "extras": extras}, sort_keys=True))
