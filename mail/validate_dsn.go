package mail

// maxEnvelopeID is how many characters ENVID may have as xtext, RFC 3461 §4.4.
const maxEnvelopeID = 100

// checkDSN checks a request for delivery status notifications.
func (fs *Faults) checkDSN(d *DSN) {
	fs.addAt("dsn.notify", checkNotify(d.Notify))
	switch d.Return {
	case "", "FULL", "HDRS":
	default:
		fs.add("dsn.return", CodeInvalidValue, "dsn return %s is not known; use FULL or HDRS", show(d.Return))
	}
	octets := 0
	for i := range len(d.EnvelopeID) {
		// RFC 3461 §4.4: printable characters and spaces of US-ASCII.
		c := d.EnvelopeID[i]
		if c < ' ' || c >= 0x7f {
			fs.add("dsn.envelope_id", CodeInvalidValue, "dsn envelope id %s has %q; only printable ASCII can stand there", show(d.EnvelopeID), c)
			return
		}
		octets += xtextOctets(c)
	}
	if octets > maxEnvelopeID {
		fs.add("dsn.envelope_id", CodeTooLong, "dsn envelope id %s has %d characters as xtext; at most %d are allowed", show(d.EnvelopeID), octets, maxEnvelopeID)
	}
}

// xtextOctets is how many octets a character takes as xtext, RFC 3461 §4:
// "+", "=" and the space become +XX.
func xtextOctets(c byte) int {
	if c == '+' || c == '=' || c == ' ' {
		return 3
	}
	return 1
}

// checkNotify checks the words of NOTIFY, RFC 3461 §4.1: each once, and NEVER
// alone.
func checkNotify(words []string) *Fault {
	var success, failure, delay, never bool
	for _, w := range words {
		var seen *bool
		switch w {
		case "SUCCESS":
			seen = &success
		case "FAILURE":
			seen = &failure
		case "DELAY":
			seen = &delay
		case "NEVER":
			seen = &never
		default:
			return fault(CodeInvalidValue, "dsn notify %s is not known; use NEVER, or any of SUCCESS, FAILURE and DELAY", show(w))
		}
		if *seen {
			return fault(CodeInvalidValue, "dsn notify has %s twice; give it once", w)
		}
		*seen = true
	}
	if never && len(words) > 1 {
		return fault(CodeConflict, "dsn notify has NEVER beside other words; NEVER stands alone")
	}
	return nil
}
