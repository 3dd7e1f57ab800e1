module benchmarks

go 1.21

require (
	github.com/nats-io/nats.go v1.34.1
	github.com/openfaas/connector-sdk v0.7.1
	github.com/openfaas/faas-provider v0.19.1
)

require (
	github.com/klauspost/compress v1.17.2 // indirect
	github.com/nats-io/nkeys v0.4.7 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	golang.org/x/crypto v0.18.0 // indirect
	golang.org/x/sys v0.16.0 // indirect
)
