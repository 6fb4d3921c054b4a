package httpapi

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/postrider/postrider/internal/httpapi/intake"
)

// Streamed is the input of an operation that reads its body itself: huma would hold it whole, and twice.
type Streamed struct{ request *http.Request }

// Resolve implements huma.Resolver: it keeps the request, whose body the chain has bounded in size and time.
func (in *Streamed) Resolve(ctx huma.Context) []error {
	in.request, _ = humago.Unwrap(ctx)
	return nil
}

// describeBody writes down the body of a Streamed operation, of which huma knows nothing.
func (s *Server) describeBody(method, path string, required bool, contents map[string]*huma.MediaType) {
	item := s.huma.OpenAPI().Paths[path]
	if item == nil || method != http.MethodPost || item.Post == nil {
		return
	}
	item.Post.RequestBody = &huma.RequestBody{Required: required, Content: contents}
}

// schemaOf is the schema of a type in the document.
func schemaOf[T any](s *Server) *huma.Schema {
	var v T
	registry := s.huma.OpenAPI().Components.Schemas
	return registry.Schema(typeOf(v), true, "")
}

// messageBodies are the three ways to hand in one message.
func (s *Server) messageBodies(message *huma.Schema) map[string]*huma.MediaType {
	return map[string]*huma.MediaType{
		"application/json": {Schema: message},
		"multipart/form-data": {Schema: &huma.Schema{
			Type: huma.TypeObject,
			Properties: map[string]*huma.Schema{
				"message": {Type: huma.TypeString, ContentEncoding: "", Description: "A JSON object as in application/json. Each of its fields may also be a part of its own: lists as several parts, objects as JSON."},
				"file":    {Type: huma.TypeString, Format: "binary", Description: "Every part with a file name is an attachment, whatever its name; with a Content-ID the HTML can refer to it."},
			},
		}},
		"message/rfc822": {Schema: &huma.Schema{
			Type: huma.TypeString, Format: "binary",
			Description: "A complete message (RFC 5322). What has no place in it goes into header fields of the request: " + intake.HeaderPrefix +
				"Mail-From, -Rcpt-To (else To, Cc and Bcc of the message are the recipients), -Relay-Id, -Send-At, -Class, -On-Unknown, -Tags, -Metadata, -Dsn, -Require-Tls.",
		}},
	}
}
