package httpapi

import (
	"encoding/json"
	"fmt"

	"github.com/danielgtaylor/huma/v2"
)

// newDocument makes huma's API, whose routes go through adapter.
func (s *Server) newDocument() {
	installErrors()
	cfg := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Postrider", Version: s.cfg.Version,
				Description: "Every operation names in " + rolesExtension + " who may call it: everyone, user and admin (of a tenant), sending (API keys for sending only), operator. " +
					"Errors are problem documents (RFC 9457) with a code, the request's id, and the fields at fault. Ids of other tenants are answered as ids that do not exist.",
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					bearerScheme: {Type: "http", Scheme: "bearer", Description: "A token of a login, an API key (pr_…), or the operator key (pr_operator_…)."},
				},
			},
		},
		Formats:       map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: "application/json",
	}
	s.huma = huma.NewAPI(cfg, adapter{s})
}

// finishDocument writes the document down: it does not change while the program runs.
func (s *Server) finishDocument() error {
	var err error
	if s.document, err = json.Marshal(s.huma.OpenAPI()); err != nil {
		return fmt.Errorf("httpapi: the OpenAPI document: %w", err)
	}
	return nil
}
