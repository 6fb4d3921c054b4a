"""Parses each message of a folder with Python's email package and prints what
it found as JSON, for comparison with what was composed."""

import email.policy
import hashlib
import json
import pathlib
import sys


def structure(part, leaves):
    kind = part.get_content_type()
    if part.is_multipart() and kind != "message/rfc822":
        inner = ",".join(structure(p, leaves) for p in part.get_payload())
        return kind.removeprefix("multipart/") + "(" + inner + ")"
    if kind == "message/rfc822":
        content = b""
    else:
        content = part.get_payload(decode=True)
    leaves.append({
        "Type": kind,
        "Filename": part.get_filename() or "",
        "ContentID": (part["Content-ID"] or "").strip().strip("<>"),
        "Disposition": part.get_content_disposition() or "",
        "Hash": hashlib.sha256(content).hexdigest(),
    })
    return kind


result = {}
for path in pathlib.Path(sys.argv[1]).glob("*.eml"):
    octets = path.read_bytes()
    message = email.message_from_bytes(octets, policy=email.policy.default)
    leaves = []
    tree = structure(message, leaves)
    plain = email.message_from_bytes(octets)  # the policy of old programs
    result[path.stem] = {
        "Structure": tree,
        "Subject": message["Subject"] or "",
        "Leaves": leaves,
        "To": [[a.display_name, a.addr_spec] for a in message["To"].addresses],
        "Names": [p.get_filename() for p in plain.walk() if p.get_content_disposition()],
        "Defects": [str(d) for p in message.walk() for d in p.defects],
        "Spaces": message["X-Spaces"],
        "Word": message["X-Word"],
    }
json.dump(result, sys.stdout)
