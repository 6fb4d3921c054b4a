package store

// LinkHash computes what whoever rewrites the audit chain computes.
func LinkHash(prev, entry []byte) []byte { return linkHash(prev, entry) }

// EntryHash computes the hash of an entry without personal data.
func EntryHash(e AuditEntry) []byte { return entryHash(e, nil, nil) }
