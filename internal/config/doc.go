// Package config reads the settings of the service: defaults, then a YAML file, then POSTRIDER_* environment variables,
// then flags; what comes later wins. One table (table.go) says of every setting its name, default, help and check; the
// flags of the commands, the reference in docs/service.md and the output of --check-config are made from it.
//
// Load finds every fault at once and names each setting the way the user wrote it. A secret may also come from a file
// (POSTRIDER_JWT_SECRET_FILE, jwt_secret_file, --jwt-secret-file) and is never printed. Beside that, the package keeps
// the key files of a data directory (keyfile.go).
//
// It does not open databases, load certificates or know what a rate limit is: whoever needs such a value turns the text
// into it and reports what is wrong with Settings.Fault, so that those faults read as the others do. Only the program
// cmd/postrider calls it; all other packages get plain values.
package config
