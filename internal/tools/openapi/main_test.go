package main

import (
	"context"
	"os"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const swagger = `{"swagger":"2.0","info":{"title":"t","version":"1","contact":{}},"basePath":"/",
"securityDefinitions":{"Bearer":{"type":"apiKey","name":"Authorization","in":"header"}},
"paths":{"/api/v1/things":{"post":{"operationId":"make","security":[{"Bearer":[]}],"consumes":["application/json"],"produces":["application/json"],
	"parameters":[{"in":"body","name":"thing","schema":{"$ref":"#/definitions/Thing"}}],
	"responses":{"200":{"description":"ok","schema":{"$ref":"#/definitions/api.page-Thing"}},"400":{"description":"bad","schema":{"$ref":"#/definitions/Problem"}}}}},
"/whip/{router}/{session}":{"get":{"tags":["WHIP","WHEP"],"parameters":[{"in":"path","name":"router","type":"string","required":true},{"in":"path","name":"session","type":"string","required":true}],"responses":{"204":{"description":"ok"}}}}},
"definitions":{"Thing":{"type":"object","properties":{"labels":{"type":"object","additionalProperties":{"type":"string"},"x-nullable-values":true}}},
	"api.page-Thing":{"type":"object","properties":{"items":{"type":"array","items":{"$ref":"#/definitions/Thing"}}}},
	"Problem":{"type":"object","properties":{"type":{"type":"string"}}}}}`

func TestConvert(t *testing.T) {
	text, err := convert([]byte(swagger))
	require.NoError(t, err)
	doc, err := openapi3.NewLoader().LoadFromData(text)
	require.NoError(t, err)
	require.NoError(t, doc.Validate(context.Background()))

	operation := doc.Paths.Value("/api/v1/things").Post
	assert.Equal(t, "/", doc.Servers[0].URL)
	assert.Equal(t, "http", doc.Components.SecuritySchemes["Bearer"].Value.Type)
	assert.Equal(t, "bearer", doc.Components.SecuritySchemes["Bearer"].Value.Scheme)
	assert.Contains(t, operation.Responses.Value("400").Value.Content, typeProblem)
	assert.Len(t, operation.Responses.Value("400").Value.Content, 1)
	assert.Contains(t, operation.Responses.Value("200").Value.Content, "application/json")
	assert.Equal(t, "#/components/schemas/ThingPage", operation.Responses.Value("200").Value.Content["application/json"].Schema.Ref)
	thing := doc.Components.Schemas["Thing"].Value
	assert.False(t, *thing.AdditionalProperties.Has, "a request with unknown fields is refused")
	assert.True(t, thing.Properties["labels"].Value.AdditionalProperties.Schema.Value.Nullable)
	assert.Nil(t, doc.Components.Schemas["ThingPage"].Value.AdditionalProperties.Has, "an answer may grow")
	session := doc.Paths.Value("/whip/{router}/{session}").Get
	assert.Equal(t, "getWhipSession", session.OperationID)
	assert.Equal(t, []string{"WHIP"}, session.Tags)
	assert.NotContains(t, string(text), "x-originalParamName")

	again, err := convert([]byte(swagger))
	require.NoError(t, err)
	assert.Equal(t, text, again, "the order is fixed")
}

func TestConvertRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":        `{`,
		"dangling":       `{"swagger":"2.0","info":{"title":"t","version":"1"},"paths":{"/a":{"get":{"responses":{"200":{"description":"","schema":{"$ref":"#/definitions/None"}}}}}}}`,
		"path parameter": `{"swagger":"2.0","info":{"title":"t","version":"1"},"paths":{"/a/{b}":{"get":{"operationId":"x","responses":{"204":{"description":""}}}}}}`,
	} {
		_, err := convert([]byte(text))
		assert.Error(t, err, name)
	}
}

func TestRun(t *testing.T) {
	from, to := t.TempDir()+"/swagger.json", t.TempDir()+"/openapi.yaml"
	require.Error(t, run(from, to))
	require.NoError(t, os.WriteFile(from, []byte(swagger), 0o600))
	require.NoError(t, run(from, to))
	text, err := os.ReadFile(to)
	require.NoError(t, err)
	assert.Contains(t, string(text), "DO NOT EDIT.")
}
