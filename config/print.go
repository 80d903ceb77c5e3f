package config

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"
)

const printHeader = `# Configuration of a Rheomesh node.
# A flag wins over a RHEOMESH_ variable, a variable over this file, this file over the defaults shown here.
# An unknown key is an error. Lists of plain values are separated by commas in a variable; other lists are YAML or JSON.
`

// Print writes cfg as a commented YAML file: each key with its meaning, default and variable. Secrets are not written.
func Print(w io.Writer, cfg Config) error {
	out := bufio.NewWriter(w)
	fmt.Fprint(out, printHeader)
	printSection(out, reflect.ValueOf(cfg), reflect.ValueOf(Default()), "", "")
	return out.Flush()
}

func printSection(out io.Writer, v, defaults reflect.Value, path, indent string) {
	for field := range fields(v.Type()) {
		full := join(path, field.name)
		value, fallback := v.Field(field.index), defaults.Field(field.index)
		fmt.Fprintln(out)
		for line := range strings.SplitSeq(field.doc, "\n") {
			fmt.Fprintf(out, "%s# %s\n", indent, line)
		}
		if isSection(field.typ) {
			fmt.Fprintf(out, "%s%s:\n", indent, field.name)
			printSection(out, value, fallback, full, indent+"  ")
			continue
		}
		fmt.Fprintf(out, "%s# Default %s. %s\n", indent, flow(fallback), envName(full))
		fmt.Fprintf(out, "%s%s: %s\n", indent, field.name, flow(value))
	}
}

// flow writes v in YAML's flow style, which for strings and lists is JSON.
func flow(v reflect.Value) string {
	if d, ok := reflect.TypeAssert[time.Duration](v); ok {
		return d.String()
	}
	switch {
	case v.Kind() == reflect.Slice:
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = flow(v.Index(i))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case isSection(v.Type()):
		var parts []string
		for field := range fields(v.Type()) {
			if value := v.Field(field.index); !value.IsZero() {
				parts = append(parts, field.name+": "+flow(value))
			}
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	text, err := json.Marshal(v.Interface())
	if err != nil {
		panic(fmt.Sprintf("config: key of type %s: %v", v.Type(), err)) // a new kind of key without a way to print it
	}
	return string(text)
}
