package seal

// PurposeRelayPassword is for what both lanes of the service read: the password of a relay, sealed for the tenant that
// owns the relay, or for the zero tenant if the operator does.
const PurposeRelayPassword = "relay password"
