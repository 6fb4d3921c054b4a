package smtp

import "github.com/postrider/postrider/smtp/sasl"

// Credentials are what AUTH is done with; see package smtp/sasl.
type Credentials = sasl.Credentials

// TokenSource gives OAuth access tokens; see package smtp/sasl.
type TokenSource = sasl.TokenSource
