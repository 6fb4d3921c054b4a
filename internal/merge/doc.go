// Package merge sends one message for each row of a CSV file: {{column}} fields
// are filled in, each row's answer is written to a results file, and a run that
// was broken off can be taken up again without sending a row twice.
//
// What it promises: a row is noted on disk as under way before its message can
// leave, and its answer after. A row that was under way when the machine died
// is reported as unknown and not sent again unless asked for. Memory does not
// grow with the rows, but for sixteen bytes each when a run is taken up again.
//
// It does not talk SMTP and knows no command line: the caller gives a function
// that sends. CSV is that of RFC 4180. Called by cmd/postrider only.
package merge
