// The Go connector SDK under the load that the Python children make (children/load.py), its
// refresh, and its match. Prints one line of JSON.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/openfaas/connector-sdk/types"
	"github.com/openfaas/faas-provider/auth"
)

var (
	mode     = flag.String("mode", "invoke", "invoke, refresh or match")
	url      = flag.String("url", "", "the gateway")
	topic    = flag.String("topic", "", "what events are about")
	_        = flag.String("function", "", "for clients that know no topics")
	inFlight = flag.Int("in-flight", 64, "goroutines that invoke")
	rate     = flag.Float64("rate", 0, "events/s, instead of -in-flight")
	warmUp   = flag.Float64("warm-up", 0.3, "seconds")
	seconds  = flag.Float64("seconds", 1, "seconds")
	size     = flag.Int("body", 1024, "bytes")
	topics   = flag.Int("topics", 100000, "topics to match among")
)

func main() {
	flag.Parse()
	// The SDK writes a line per call; that is left out of what is measured.
	log.SetOutput(io.Discard)
	var result any
	switch *mode {
	case "invoke":
		result = measureInvoke()
	case "refresh":
		result = measureRefresh()
	case "match":
		result = measureMatch()
	}
	json.NewEncoder(os.Stdout).Encode(result)
}

type subscriber struct{ failed atomic.Int64 }

func (s *subscriber) Response(response types.InvokerResponse) {
	if response.Error != nil || response.Status != http.StatusOK {
		s.failed.Add(1)
	}
}

func config() *types.ControllerConfig {
	return &types.ControllerConfig{
		GatewayURL:               *url,
		RebuildInterval:          30 * time.Second,
		UpstreamTimeout:          60 * time.Second,
		TopicAnnotationDelimiter: ",",
		ContentType:              "text/plain",
		UserAgent:                "benchmark",
	}
}

// load is what was measured between the warm-up and the end.
type load struct {
	controller types.Controller
	body       []byte
	lock       sync.Mutex
	latencies  []float64
	stopping   atomic.Bool
}

func measureInvoke() any {
	heard := &subscriber{}
	controller := types.NewController(&auth.BasicAuthCredentials{}, config())
	controller.Subscribe(heard)
	controller.BeginMapBuilder()
	for len(controller.Topics()) == 0 {
		time.Sleep(time.Millisecond)
	}
	l := &load{controller: controller, body: []byte(strings.Repeat("x", *size))}
	var running sync.WaitGroup
	if *rate > 0 {
		running.Add(1)
		go l.steady(&running)
	} else {
		running.Add(*inFlight)
		for caller := 0; caller < *inFlight; caller++ {
			go l.repeat(caller, &running)
		}
	}
	time.Sleep(time.Duration(*warmUp * float64(time.Second)))
	l.lock.Lock()
	l.latencies = nil
	l.lock.Unlock()
	begun, cpu := time.Now(), cpuSeconds()
	time.Sleep(time.Duration(*seconds * float64(time.Second)))
	took, cpu := time.Since(begun).Seconds(), cpuSeconds()-cpu
	l.lock.Lock()
	latencies := append([]float64(nil), l.latencies...)
	l.lock.Unlock()
	l.stopping.Store(true)
	running.Wait()
	if heard.failed.Load() > 0 {
		fmt.Fprintln(os.Stderr, heard.failed.Load(), "calls were not answered with 200")
		os.Exit(1)
	}
	sort.Float64s(latencies)
	count := len(latencies)
	return map[string]float64{
		"rate": float64(count) / took,
		"cpu":  cpu / float64(count) * 1e6, // microseconds per event
		"p50":  latencies[count/2],
		"p99":  latencies[count*99/100],
		"peak": float64(peakMemory()),
	}
}

func (l *load) repeat(number int, running *sync.WaitGroup) {
	defer running.Done()
	for !l.stopping.Load() {
		l.once(number)
		number += *inFlight
	}
}

func (l *load) steady(running *sync.WaitGroup) {
	defer running.Done()
	begun := time.Now()
	for number := 0; !l.stopping.Load(); {
		for ; float64(number) < time.Since(begun).Seconds()**rate; number++ {
			running.Add(1)
			go func(number int) {
				defer running.Done()
				l.once(number)
			}(number)
		}
		time.Sleep(time.Duration(float64(time.Second) / *rate))
	}
}

func (l *load) once(number int) {
	headers := http.Header{"X-Message-Id": {strconv.Itoa(number)}}
	begun := time.Now()
	l.controller.Invoke(*topic, &l.body, headers)
	latency := time.Since(begun).Seconds()
	l.lock.Lock()
	l.latencies = append(l.latencies, latency)
	l.lock.Unlock()
}

func measureRefresh() any {
	client := types.MakeClient(60 * time.Second)
	builder := types.NewFunctionLookupBuilder(*url, ",", client, &auth.BasicAuthCredentials{})
	found := types.NewTopicMap()
	refresh := func() float64 {
		begun := time.Now()
		lookups, err := builder.Build()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		found.Sync(&lookups)
		return time.Since(begun).Seconds()
	}
	return map[string]float64{"first": refresh(), "again": refresh()}
}

func measureMatch() any {
	lookup := make(map[string][]string, *topics)
	for number := 0; number < *topics; number++ {
		lookup[fmt.Sprintf("site.%d.created", number)] = []string{"function"}
	}
	found := types.NewTopicMap()
	found.Sync(&lookup)
	const looks = 300
	begun := time.Now()
	for look := 0; look < looks; look++ {
		if len(found.Match(fmt.Sprintf("site.%d.created", look*(*topics)/looks))) != 1 {
			os.Exit(1)
		}
	}
	return map[string]float64{"exact": time.Since(begun).Seconds() / looks}
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

// peakMemory is in bytes, of this program alone: ru_maxrss begins with what its parent had.
func peakMemory() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		var usage syscall.Rusage
		syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
		return usage.Maxrss * 1024
	}
	for _, line := range strings.Split(string(status), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmHWM:" {
			kilobytes, _ := strconv.ParseInt(fields[1], 10, 64)
			return kilobytes * 1024
		}
	}
	return 0
}
