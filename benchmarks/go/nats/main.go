// NATS to functions with the Go connector SDK, as the connector of OpenFaaS does it: one call after
// another, in the callback of a subscription; or, with -goroutines, a goroutine for each event.
// Prints one line of JSON.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/openfaas/connector-sdk/types"
	"github.com/openfaas/faas-provider/auth"
)

var (
	broker     = flag.String("broker", "", "the server of NATS")
	url        = flag.String("url", "", "the gateway")
	topic      = flag.String("topic", "", "the subject")
	count      = flag.Int64("count", 0, "events")
	goroutines = flag.Bool("goroutines", false, "a goroutine for each event")
)

// answered counts, and tells of the last.
type answered struct {
	done, failed atomic.Int64
	all          chan bool
}

func (a *answered) Response(response types.InvokerResponse) {
	if response.Error != nil || response.Status != http.StatusOK {
		a.failed.Add(1)
	}
	if a.done.Add(1) == *count {
		a.all <- true
	}
}

func main() {
	flag.Parse()
	// The SDK writes a line per call; that is left out of what is measured.
	log.SetOutput(io.Discard)
	heard := &answered{all: make(chan bool)}
	controller := types.NewController(&auth.BasicAuthCredentials{}, &types.ControllerConfig{
		GatewayURL:               *url,
		RebuildInterval:          30 * time.Second,
		UpstreamTimeout:          60 * time.Second,
		TopicAnnotationDelimiter: ",",
		ContentType:              "text/plain",
		UserAgent:                "benchmark",
	})
	controller.Subscribe(heard)
	controller.BeginMapBuilder()
	for len(controller.Topics()) == 0 {
		time.Sleep(time.Millisecond)
	}
	client, err := nats.Connect(*broker)
	check(err)
	var begun time.Time
	var cpu float64
	_, err = client.QueueSubscribe(*topic, "workers", func(event *nats.Msg) {
		if begun.IsZero() {
			begun, cpu = time.Now(), cpuSeconds()
		}
		if *goroutines {
			go controller.Invoke(event.Subject, &event.Data, http.Header{})
		} else {
			controller.Invoke(event.Subject, &event.Data, http.Header{})
		}
	})
	check(err)
	<-heard.all
	took, cpu := time.Since(begun).Seconds(), cpuSeconds()-cpu
	if heard.failed.Load() > 0 {
		check(fmt.Errorf("%d calls were not answered with 200", heard.failed.Load()))
	}
	json.NewEncoder(os.Stdout).Encode(map[string]float64{
		"rate": float64(*count) / took,
		"cpu":  cpu / float64(*count) * 1e6,
	})
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}
