"""Reads messages with Python's email package and writes what it found as JSON.

Standard input holds messages, each after a line with its length in bytes.
Standard output gets one line of JSON for each. Nothing of the Go code is used:
this is the independent reader of internal/relaytest.
"""

import email.errors
import email.headerregistry
import email.parser
import email.policy
import hashlib
import json
import sys


class Policy(email.policy.EmailPolicy):
    """The default policy, which also reads header fields in UTF-8 (RFC 6532)."""

    def header_source_parse(self, sourcelines):
        name, value = super().header_source_parse(sourcelines)
        try:
            value = value.encode("ascii", "surrogateescape").decode("utf-8")
        except UnicodeError:
            pass
        return name, value


def clean(text):
    """Makes a text writable as JSON in UTF-8: undecodable bytes become U+FFFD."""
    return str(text).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def defect(found):
    return clean(f"{type(found).__name__}: {found}".rstrip(": "))


def fields(part, defects):
    result = []
    for name, raw in part._headers:
        value = ""
        try:
            parsed = part.policy.header_fetch_parse(name, raw)
            value = str(parsed)
            found = list(parsed.defects)
            if isinstance(parsed, email.headerregistry.UnstructuredHeader):
                # Python finds faults of encoded-words here but drops them.
                found += parsed.value_parser("".join(raw.splitlines())).all_defects
            if not raw.isascii():
                # A local-part in UTF-8 is right in a field in UTF-8 (RFC 6532 §3.2).
                found = [d for d in found
                         if not isinstance(d, email.errors.NonASCIILocalPartDefect)]
            defects.extend(f"{name}: {defect(d)}" for d in found)
        except Exception as err:  # a fault of the field or of Python: both are findings
            defects.append(f"{name}: {defect(err)}")
        result.append({"Name": name, "Value": clean(value), "Raw": clean(raw)})
    return result


def mailboxes(part, name):
    result = []
    try:
        for field in part.get_all(name, []):
            for group in field.groups:
                for address in group.addresses:
                    result.append({
                        "Name": clean(address.display_name or ""),
                        "Address": clean(address.addr_spec),
                        "Group": clean(group.display_name or ""),
                    })
    except Exception:  # fields() has reported it
        pass
    return result


def texts(mapping):
    return {clean(k): clean(v) for k, v in dict(mapping).items()}


def describe(part, inherited):
    defects = [defect(d) for d in part.defects]
    out = {
        "Fields": fields(part, defects),
        "ContentType": "", "Params": {}, "Disposition": "", "DispositionParams": {},
        "Filename": "", "ContentID": "", "TransferEncoding": "",
        "Size": 0, "SHA256": "", "Text": "", "Preamble": "", "Epilogue": "",
        "Parts": [], "Defects": defects,
    }
    try:
        out["ContentType"] = part.get_content_type()
        if part["content-type"] is not None:
            out["Params"] = texts(part["content-type"].params)
        if part["content-disposition"] is not None:
            out["Disposition"] = clean(part["content-disposition"].content_disposition or "")
            out["DispositionParams"] = texts(part["content-disposition"].params)
        out["Filename"] = clean(part.get_filename() or "")
        out["ContentID"] = clean(part["content-id"] or "").strip()
        out["TransferEncoding"] = clean(part["content-transfer-encoding"] or "").strip().lower()
        if part.is_multipart():
            out["Preamble"] = clean(part.preamble or "")
            out["Epilogue"] = clean(part.epilogue or "")
            out["Parts"] = [describe(p, inherited) for p in part.iter_parts()] \
                if part.get_content_maintype() == "multipart" \
                else [describe(p, inherited) for p in part.get_payload()]
        else:
            payload = part.get_payload(decode=True) or b""
            out["Size"] = len(payload)
            out["SHA256"] = hashlib.sha256(payload).hexdigest()
            if part.get_content_maintype() == "text":
                charset = part.get_content_charset("us-ascii")
                out["Text"] = payload.decode(charset, "replace")
        # Decoding a body adds defects, of base64 for instance.
        for found in part.defects:
            text = defect(found)
            if text not in defects:
                defects.append(text)
    except Exception as err:
        defects.append(defect(err))
    inherited.extend(defects)
    return out


def parse(raw):
    message = email.parser.BytesParser(policy=Policy()).parsebytes(raw)
    defects = []
    out = {"Root": describe(message, defects)}
    for key, name in (("From", "from"), ("Sender", "sender"), ("ReplyTo", "reply-to"),
                      ("To", "to"), ("Cc", "cc"), ("Bcc", "bcc")):
        out[key] = mailboxes(message, name)
    for key, name in (("Subject", "subject"), ("MessageID", "message-id")):
        try:
            out[key] = clean(message[name] or "").strip()
        except Exception:  # fields() has reported it
            out[key] = ""
    try:
        date = message["date"]
        out["Date"] = date.datetime.isoformat() if date is not None and date.datetime else ""
    except Exception:  # fields() has reported it
        out["Date"] = ""
    out["Fields"] = out["Root"]["Fields"]
    out["Defects"] = defects
    return out


def main():
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    while line := stdin.readline():
        raw = stdin.read(int(line))
        stdout.write(json.dumps(parse(raw)).encode() + b"\n")


main()
