module aiadmin/config/e2e/kn

go 1.26.0

require knative.dev/client/pkg v0.0.0-20251030022238-b66b3da6ff01 // indirect
