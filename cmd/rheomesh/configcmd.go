package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"rheomesh/config"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "Print or check the configuration", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newConfigPrint(), newConfigCheck())
	return cmd
}

func newConfigPrint() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "print",
		Short: "Print the configuration as a commented YAML file",
		Long: `Print every key with its meaning, default and variable, and the value that file, environment
and flags give it. Without any of these it is the reference of all keys. Secrets are not printed.`,
		Args: cobra.NoArgs,
	}
	load := nodeFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		return config.Print(cmd.OutOrStdout(), cfg)
	}
	return cmd
}

func newConfigCheck() *cobra.Command {
	cmd := &cobra.Command{Use: "check", Short: "Check file, environment and flags without starting anything", Args: cobra.NoArgs}
	load := nodeFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if _, err := load(); err != nil {
			return err
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "configuration is good")
		return err
	}
	return cmd
}

// nodeFlags adds the flags that configure a node to cmd, and returns what loads the configuration once they are parsed.
func nodeFlags(cmd *cobra.Command) (load func() (config.Config, error)) {
	flags := cmd.Flags()
	file := flags.String("config", os.Getenv(config.EnvFile), "YAML `FILE` with the configuration; "+config.EnvFile+" names it too")
	insecure := flags.Bool("insecure", false, "let anybody in: no credentials, and listen on every address by default")
	flags.String("http", "", "`ADDR` of pages, WHIP, WHEP and API (default :8080, without credentials 127.0.0.1:8080)")
	flags.String("media", "", "`ADDR` of media, UDP and TCP (default :10000, without credentials localhost:10000)")
	flags.String("relay", "", "`ADDR` of other nodes, TCP and UDP (default :9443, without relay.secret localhost:9443)")
	flags.StringSlice("public-ip", nil, "`IP` to advertise in place of the node's own; may be repeated")
	flags.StringSlice("router", nil, "`NAME` of a router that exists from the start; may be repeated (default live)")
	flags.String("data-dir", "", "`DIR` for what outlives a restart (default ./rheomesh-data)")
	flags.String("log-level", "", "`LEVEL` of logs: debug, info, warn or error (default info)")
	for name, key := range map[string]string{
		"http": "http.addr", "media": "media.addr", "relay": "relay.addr", "public-ip": "media.public_ips", "router": "routers",
		"data-dir": "data_dir", "log-level": "log.level",
	} {
		if err := flags.SetAnnotation(name, config.FlagKey, []string{key}); err != nil {
			panic(err) // the flag was added above
		}
	}
	return func() (config.Config, error) {
		return config.Load(config.Sources{File: *file, Environ: os.Environ(), Flags: flags, Insecure: *insecure})
	}
}
