package merge

// BreakResults makes every further write to the results fail, as a full disk does.
func BreakResults(r *Run) error { return r.journal.results.Close() }

// BreakNotes makes every further note of a row under way fail.
func BreakNotes(r *Run) error { return r.journal.sending.Close() }
