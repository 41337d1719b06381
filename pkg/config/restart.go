package config

import "reflect"

// RestartNeeded names the settings that differ in next and take effect only at the next
// start. CORS, Retention and LogLevel are never among them.
func (c Config) RestartNeeded(next Config) []string {
	var changed []string
	for _, setting := range []struct {
		name     string
		old, new any
	}{
		{"auth", c.Auth, next.Auth},
		{"oidc", c.OIDC, next.OIDC},
		{"source", c.Source, next.Source},
		{"database", c.Database, next.Database},
		{"outbox", c.Outbox, next.Outbox},
		{"metricsPort", c.MetricsPort, next.MetricsPort},
		{"fissionCompat", c.FissionCompat, next.FissionCompat},
	} {
		if !reflect.DeepEqual(setting.old, setting.new) {
			changed = append(changed, setting.name)
		}
	}
	return changed
}
