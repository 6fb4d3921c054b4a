// Package inbox keeps the messages that a development server received and
// shows them: a list, a page for each message, its raw source and attachments,
// and the same as JSON.
//
// Content goes to files in a folder of its own and is read from there again, so
// memory does not grow with it. Only the newest messages are kept. It takes mail
// through package smtp/smtptest and is no mail store: it keeps nothing beyond its
// process. Called by cmd/postrider only.
package inbox
