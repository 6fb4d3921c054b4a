package main

// goal is a limit for the median of a cell.
type goal struct {
	part, database, row, column string

	atMost bool
	limit  float64
}

func (g goal) met(v float64) bool {
	if g.atMost {
		return v <= g.limit
	}
	return v >= g.limit
}

// goals are the service's.
func goals() []goal {
	var all []goal
	add := func(atMost bool, limit float64, part, database, row, column string) {
		all = append(all, goal{part, database, row, column, atMost, limit})
	}
	add(false, 4, "peers", neither, oursSQLite, timesAccepted)
	add(false, 5, "peers", neither, oursSQLite, timesSent)
	for _, row := range []string{"HS256/new", "HS256/seen", "ES256/seen", "APIKey"} {
		add(true, 15, "chain", neither, row, chainColumn)
	}
	add(true, 100, "chain", neither, "ES256/new", chainColumn)
	for _, row := range []string{"HS256/seen", "APIKey"} {
		add(true, 100, "chain", neither, "Redis/"+row, chainMore)
	}
	for _, db := range []string{sqlite, postgresql} {
		accept, sent, p99 := 6000.0, 4000.0, 10.0
		if db == postgresql {
			accept, sent, p99 = 4000, 3000, 15
		}
		add(true, 300, "start", db, "empty data directory", startColumn)
		add(false, accept, "accept", db, callersRow(64), acceptedRate)
		add(true, p99, "accept", db, callersRow(8), acceptP99)
		add(false, sent, "send", db, callersRow(64), sentRate)
		add(true, 100, "send", db, callersRow(64), memoryColumn)
		for _, row := range []string{ownRelay, sharedRelay} {
			add(true, 100, "newcomer", db, row, "median ms")
			add(true, 500, "newcomer", db, row, "worst ms")
		}
		add(true, 64, "attach", db, attachRow, attachMore)
		for _, column := range growthColumns() {
			add(true, 1.5, "growth", db, growthWorst, times(column))
		}
	}
	for _, row := range policyReads() {
		add(true, 1.3, "rls", postgresql, row.name, policyTimes)
	}
	return all
}
