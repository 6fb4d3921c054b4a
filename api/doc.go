// Package api holds what Postrider's HTTP API says: the JSON types of its requests and answers, the codes of its
// problem documents, and Client, a small Go client for it.
//
// It does not render or check anything, knows no database and no route but those that Client calls. The service's HTTP
// layer uses the same types, so that what is documented here is what is on the wire. A program imports it to talk to a
// service:
//
//	client, err := api.NewClient(api.ClientConfig{URL: "https://mail.example", Token: key})
//	me, err := client.Me(ctx)
//	if problem, ok := errors.AsType[*api.Problem](err); ok && problem.Code == api.CodeRateLimited { … }
//
// Names are snake_case, times RFC 3339 in UTC, ids UUIDs, errors problem documents (RFC 9457). Members may be added to
// answers at any time; readers ignore those they do not know. The whole reference is docs/api.md.
package api
