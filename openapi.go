// Package rheomesh holds the contract of the HTTP API as a document, openapi.yaml, so that the program serves the very
// file that lies at the top of the repository. The document is generated: its source are the annotations beside the
// handlers in api and whip, and "make generate" writes it.
package rheomesh

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"sync"

	"go.yaml.in/yaml/v3"
)

//go:embed openapi.yaml
var openAPI []byte

// OpenAPIYAML is the contract as OpenAPI 3 in YAML. The caller must not change it.
func OpenAPIYAML() []byte { return openAPI }

// OpenAPIJSON is the same document in JSON. The caller must not change it.
var OpenAPIJSON = sync.OnceValue(func() []byte {
	var document map[string]any
	if err := yaml.Unmarshal(openAPI, &document); err != nil {
		panic(fmt.Sprintf("rheomesh: openapi.yaml: %v", err)) // the generator wrote it, and the tests read it
	}
	text, err := json.Marshal(document)
	if err != nil {
		panic(fmt.Sprintf("rheomesh: openapi.yaml: %v", err))
	}
	return text
})
