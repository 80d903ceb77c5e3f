package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	yamlparser "github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// FlagKey is the annotation of a pflag.Flag that holds the path of the key which the flag sets.
const FlagKey = "rheomesh.key"

// Sources is everything that Load reads, from weakest to strongest.
type Sources struct {
	File    string         // path of a YAML file; "" = none
	Environ []string       // as os.Environ gives it
	Flags   *pflag.FlagSet // parsed; flags without a FlagKey annotation are not ours; nil = none

	// Insecure permits a node without credentials to listen on addresses that others reach.
	Insecure bool
}

// Load merges the sources over the defaults, reads secret files, and validates the result. Its error names the source
// and the key of every mistake.
func Load(src Sources) (Config, error) {
	merged, err := merge(src)
	if err != nil {
		return Config{}, err
	}
	cfg := Default()
	if err := decode(merged, &cfg); err != nil {
		return Config{}, err
	}
	if err := cfg.readSecretFiles(); err != nil {
		return Config{}, err
	}
	if !cfg.HasCredentials() && !src.Insecure {
		cfg.stayLocal(merged)
	}
	if cfg.Relay.Secret == "" && !src.Insecure && !merged.Exists("relay.addr") {
		cfg.Relay.Addr = defaultRelayAddrLocal
	}
	if !merged.Exists("webhooks.allow_private") {
		cfg.Webhooks.AllowPrivate = Loopback(cfg.HTTP.Addr) && Loopback(cfg.Media.Addr)
	}
	if err := cfg.validate(); err != nil {
		return Config{}, err
	}
	if !src.Insecure {
		return cfg, cfg.refuseOpen()
	}
	return cfg, nil
}

// merge reads the sources one by one, so that a mistake can be told with the name of its source.
func merge(src Sources) (*koanf.Koanf, error) {
	merged := koanf.New(".")
	if src.File != "" {
		layer := koanf.New(".")
		if err := layer.Load(file.Provider(src.File), yamlparser.Parser()); err != nil {
			return nil, fmt.Errorf("config file %s: %w", src.File, err)
		}
		if err := mergeChecked(merged, layer, "config file "+src.File); err != nil {
			return nil, err
		}
	}
	if err := mergeEnvironment(merged, src.Environ); err != nil {
		return nil, err
	}
	if src.Flags == nil {
		return merged, nil
	}
	layer := koanf.New(".")
	if err := layer.Load(flagProvider(src.Flags), nil); err != nil {
		return nil, fmt.Errorf("flags: %w", err)
	}
	return merged, mergeChecked(merged, layer, "flags")
}

func mergeChecked(into, layer *koanf.Koanf, source string) error {
	if errs := check(layer.Raw(), reflect.TypeFor[Config](), ""); len(errs) > 0 {
		return fmt.Errorf("%s: %w", source, errors.Join(errs...))
	}
	return into.Merge(layer)
}

func flagProvider(flags *pflag.FlagSet) koanf.Provider {
	return posflag.ProviderWithFlag(flags, ".", nil, func(f *pflag.Flag) (string, any) {
		key := f.Annotations[FlagKey]
		if len(key) == 0 || !f.Changed {
			return "", nil
		}
		return key[0], posflag.FlagVal(flags, f)
	})
}

// serviceLink matches the variables that Kubernetes sets in every container for a Service called "rheomesh".
var serviceLink = regexp.MustCompile(`^RHEOMESH_(SERVICE_(HOST|PORT.*)|PORT(_\d+_(TCP|UDP).*)?)$`)

func mergeEnvironment(into *koanf.Koanf, environ []string) error {
	keys := map[string]Key{}
	for _, key := range Keys() {
		keys[key.Env] = key
	}
	var errs []error
	layer := koanf.New(".")
	provider := env.Provider(".", env.Opt{
		Prefix:      EnvPrefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, text string) (string, any) {
			if name == EnvFile || name == EnvToken || serviceLink.MatchString(name) {
				return "", nil
			}
			key, known := keys[name]
			if !known {
				errs = append(errs, fmt.Errorf("unknown variable %s%s", name, suggest(name, sortedKeys(keys))))
				return "", nil
			}
			value, err := parseText(text, key.typ)
			if err == nil {
				err = errors.Join(check(value, key.typ, key.Path)...)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
				return "", nil
			}
			return key.Path, value
		},
	})
	if err := layer.Load(provider, nil); err != nil {
		return fmt.Errorf("environment: %w", err)
	}
	if len(errs) > 0 {
		return fmt.Errorf("environment: %w", errors.Join(errs...))
	}
	return into.Merge(layer)
}

// parseText turns the text of a variable into what the YAML parser would have made of it in a file. Lists of
// plain values are separated by commas; lists of mappings are written as YAML or JSON.
func parseText(text string, t reflect.Type) (any, error) {
	if t.Kind() == reflect.Slice && !isSection(t.Elem()) {
		list := []any{}
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
		return list, nil
	}
	if t.Kind() == reflect.String || t == typeDuration {
		return text, nil
	}
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		return nil, errors.New("is not YAML or JSON") // the cause may quote a secret
	}
	return value, nil
}

func decode(merged *koanf.Koanf, cfg *Config) error {
	err := merged.UnmarshalWithConf("", cfg, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		TagName:     "koanf",
		Result:      cfg,
		ErrorUnused: true,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(
			mapstructure.StringToTimeDurationHookFunc(),
			mapstructure.StringToNetIPAddrHookFunc(),
		),
	}})
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	return nil
}

// stayLocal makes loopback the default of the addresses that nobody chose.
func (c *Config) stayLocal(chosen *koanf.Koanf) {
	if !chosen.Exists("http.addr") {
		c.HTTP.Addr = defaultHTTPAddrLocal
	}
	if !chosen.Exists("media.addr") {
		c.Media.Addr = defaultMediaAddrLocal
	}
}

// readSecretFiles replaces each …_file key by what the file holds, and each plain API secret by its digest.
func (c *Config) readSecretFiles() error {
	var errs []error
	for i := range c.Auth.APIKeys {
		path := fmt.Sprintf("auth.api_keys[%d]", i)
		errs = append(errs, c.Auth.APIKeys[i].hashSecret(path))
	}
	jwt := &c.Auth.JWT
	errs = append(errs, readSecret(&jwt.HS256Secret, &jwt.HS256SecretFile, "auth.jwt.hs256_secret"))
	errs = append(errs, readSecret(&c.Relay.Secret, &c.Relay.SecretFile, "relay.secret"))
	errs = append(errs, readSecret(&c.Relay.PreviousSecret, &c.Relay.PreviousFile, "relay.previous_secret"))
	hooks := &c.Webhooks
	errs = append(errs, readSecret(&hooks.AdmissionSecret, &hooks.AdmissionSecretFile, "webhooks.admission_secret"))
	for i := range c.ICEServers {
		server := &c.ICEServers[i]
		path := fmt.Sprintf("ice_servers[%d].credential", i)
		errs = append(errs, readSecret(&server.Credential, &server.CredentialFile, path))
	}
	return errors.Join(errs...)
}

func readSecret(secret *Secret, name *string, path string) error {
	if *name == "" {
		return nil
	}
	if *secret != "" {
		return fmt.Errorf("%s: set it or %s_file, not both", path, path)
	}
	content, err := os.ReadFile(*name)
	if err != nil {
		return fmt.Errorf("%s_file: %w", path, err)
	}
	*secret, *name = Secret(strings.TrimRight(string(content), "\r\n")), ""
	return nil
}
