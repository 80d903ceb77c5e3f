package main

import (
	"context"
	"log/slog"

	"rheomesh/api/webhook"
	"rheomesh/config"
	"rheomesh/whip"
)

// admission is nil when nobody is to be asked.
func admission(cfg config.Webhooks, log *slog.Logger) (*webhook.Admission, error) {
	if cfg.AdmissionURL == "" {
		return nil, nil
	}
	return webhook.NewAdmission(webhook.AdmissionConfig{
		URL: cfg.AdmissionURL, Secret: webhook.Secret(cfg.AdmissionSecret.Reveal()), FailOpen: cfg.AdmissionFailOpen, Logger: log,
	})
}

// admit asks the admission webhook about a client.
func (n *node) admit(ctx context.Context, a whip.Attempt) error {
	return n.admission.Ask(ctx, webhook.Question{
		Action: a.Action(), Role: a.Role.String(), Router: string(a.Router), Publisher: string(a.Publisher),
		ClientIP: a.ClientIP.String(), UserAgent: a.UserAgent,
	})
}
