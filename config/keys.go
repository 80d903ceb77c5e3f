package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"
)

// EnvPrefix starts the name of every variable that sets a key.
const EnvPrefix = "RHEOMESH_"

// Variables with the prefix that are no keys: the file's path, and the token of the client commands.
const (
	EnvFile  = EnvPrefix + "CONFIG"
	EnvToken = EnvPrefix + "TOKEN"
)

// Key is one leaf of the configuration: something that one line of the file, one variable or one flag sets.
type Key struct {
	Path    string // dotted, as in "http.addr"
	Env     string // as in "RHEOMESH_HTTP_ADDR"
	Meaning string // lines for the reference

	typ reflect.Type
}

// Keys lists every key in the order of the reference file.
func Keys() []Key { return appendKeys(nil, reflect.TypeFor[Config](), "") }

func appendKeys(keys []Key, t reflect.Type, prefix string) []Key {
	for field := range fields(t) {
		path := prefix + field.name
		if isSection(field.typ) {
			keys = appendKeys(keys, field.typ, path+".")
			continue
		}
		keys = append(keys, Key{Path: path, Env: envName(path), Meaning: field.doc, typ: field.typ})
	}
	return keys
}

func envName(path string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// field is what the tags of a struct field say.
type field struct {
	name, doc string
	typ       reflect.Type
	index     int
}

// fields iterates over the fields of struct type t that are keys or sections.
func fields(t reflect.Type) func(yield func(field) bool) {
	return func(yield func(field) bool) {
		for i := range t.NumField() {
			f := t.Field(i)
			if !yield(field{name: f.Tag.Get("koanf"), doc: f.Tag.Get("doc"), typ: f.Type, index: i}) {
				return
			}
		}
	}
}

var (
	typeDuration = reflect.TypeFor[time.Duration]()
	typeAddr     = reflect.TypeFor[netip.Addr]()
)

// isSection tells whether a value of type t is a mapping in the file rather than a scalar or a list.
func isSection(t reflect.Type) bool { return t.Kind() == reflect.Struct && t != typeAddr }

// check compares a raw value, as a parser produced it, with the type that it must decode to, and returns one error
// for each unknown key and each wrong type. It never quotes a value, since a value may be a secret.
func check(raw any, t reflect.Type, path string) []error {
	switch {
	case isSection(t):
		return checkSection(raw, t, path)
	case t.Kind() == reflect.Slice:
		return checkList(raw, t, path)
	}
	if want := scalarProblem(raw, t); want != "" {
		return []error{fmt.Errorf("%s: must be %s, is %s", path, want, kindOf(raw))}
	}
	return nil
}

func checkSection(raw any, t reflect.Type, path string) (errs []error) {
	mapping, ok := raw.(map[string]any)
	if !ok {
		return []error{fmt.Errorf("%s: must be a mapping of keys, is %s", path, kindOf(raw))}
	}
	known := map[string]reflect.Type{}
	for field := range fields(t) {
		known[field.name] = field.typ
	}
	for _, name := range sortedKeys(mapping) {
		full := join(path, name)
		typ, ok := known[name]
		if !ok {
			errs = append(errs, fmt.Errorf("unknown key %s%s", full, suggest(full, candidates(path, known))))
			continue
		}
		errs = append(errs, check(mapping[name], typ, full)...)
	}
	return errs
}

func checkList(raw any, t reflect.Type, path string) (errs []error) {
	switch list := raw.(type) {
	case []any:
		for i, element := range list {
			errs = append(errs, check(element, t.Elem(), fmt.Sprintf("%s[%d]", path, i))...)
		}
	case []string: // from a flag
		for i, element := range list {
			errs = append(errs, check(element, t.Elem(), fmt.Sprintf("%s[%d]", path, i))...)
		}
	default:
		errs = append(errs, fmt.Errorf("%s: must be a list, is %s", path, kindOf(raw)))
	}
	return errs
}

// scalarProblem says what a scalar of type t must be when raw is not that.
func scalarProblem(raw any, t reflect.Type) string {
	text, isText := raw.(string)
	switch {
	case t == typeDuration:
		if _, err := time.ParseDuration(text); !isText || err != nil {
			return `a duration such as "10s"`
		}
	case t == typeAddr:
		if _, err := netip.ParseAddr(text); !isText || err != nil {
			return "an IP address"
		}
	case t.Kind() == reflect.Bool:
		if _, ok := raw.(bool); !ok {
			return "true or false"
		}
	case t.Kind() == reflect.Int:
		if _, ok := raw.(int); !ok {
			return "a whole number"
		}
	case !isText:
		return "a string (quote it)"
	}
	return ""
}

func kindOf(raw any) string {
	switch raw.(type) {
	case nil:
		return "empty"
	case bool:
		return "true or false"
	case int, int64, uint64, float64:
		return "a number"
	case string:
		return "other text"
	case []any:
		return "a list"
	case map[string]any:
		return "a mapping"
	}
	return fmt.Sprintf("a %T", raw)
}

// candidates are the keys that an unknown key below path may have meant: its would-be siblings, and every key of the file.
func candidates(path string, siblings map[string]reflect.Type) (names []string) {
	for _, name := range sortedKeys(siblings) {
		names = append(names, join(path, name))
	}
	for _, key := range Keys() {
		names = append(names, key.Path)
	}
	return names
}

// suggest returns a question for the end of an error message when one of the names is near to the wrong one.
func suggest(wrong string, names []string) string {
	best, bestDistance := "", len(wrong)/3+2 // farther than a third of the letters is a guess
	for _, name := range names {
		if d := editDistance(wrong, name); d < bestDistance {
			best, bestDistance = name, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// editDistance counts the insertions, deletions and substitutions of bytes that turn a into b (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func sortedKeys[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
