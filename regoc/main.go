// The Rego toolchain as a JavaScript function: a JSON request in, a JSON reply out, both as text.
// Everything stays in memory. It never reads a file, opens a socket, or evaluates policy for a request.
//
//go:build js && wasm

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"syscall/js"

	"github.com/open-policy-agent/opa/v1/util"
)

// request is what the host asks for; paths are relative to the policy directory.
type request struct {
	Op          string            `json:"op"`
	Files       map[string]string `json:"files"`
	Data        map[string]any    `json:"data"`
	Schema      any               `json:"schema"`
	Entrypoints []string          `json:"entrypoints"`
	// Topics are further entry points, each with the schema of its own input, that a policy may do without.
	Topics     []topic     `json:"topics"`
	Operations []operation `json:"operations"`
	// Run is a pattern on the references of tests; empty for all of them.
	Run string `json:"run"`
	// Cases are those of a table, by entry point, that are to be traced.
	Cases  map[string][]string `json:"cases"`
	Bundle sealedBundle        `json:"bundle"`
	// Inputs are for explain.
	Inputs []any `json:"inputs"`
}

// reply holds the members that the operation produces; Errors holds nothing but warnings exactly when OK.
type reply struct {
	OK       bool              `json:"ok"`
	Errors   []diagnostic      `json:"errors"`
	Wasm     []byte            `json:"wasm,omitempty"`
	Tests    []testResult      `json:"tests,omitempty"`
	Coverage []fileCoverage    `json:"coverage,omitempty"`
	Traces   []testTrace       `json:"traces,omitempty"`
	Files    map[string]string `json:"files,omitempty"`
	Rules    []ruleResult      `json:"rules,omitempty"`
	Reads    []string          `json:"reads,omitempty"`
	Bundle   *openedBundle     `json:"bundle,omitempty"`
	// Shadow is the policy as written, there only when rules are marked shadow; Wasm is then without them.
	Shadow       []byte         `json:"shadow,omitempty"`
	ShadowRules  []string       `json:"shadow_rules,omitempty"`
	Explanations []*explanation `json:"explanations,omitempty"`
}

// run answers one request; a panic of the compiler is a diagnostic too.
func run(ctx context.Context, text string) (out reply) {
	defer func() {
		if p := recover(); p != nil {
			out = refuse(fmt.Errorf("the compiler failed: %v", p))
		}
	}()
	var req request
	if err := util.UnmarshalJSON([]byte(text), &req); err != nil {
		return refuse(err)
	}
	switch req.Op {
	case "check":
		return check(req)
	case "build":
		return build(ctx, req)
	case "test":
		return test(ctx, req)
	case "trace":
		return trace(ctx, req)
	case "fmt":
		return formatted(req)
	case "rules":
		return rules(ctx, req)
	case "reads":
		return reads(req)
	case "bundle":
		return openBundle(req)
	case "explain":
		return explain(ctx, req)
	default:
		return refuse(fmt.Errorf("unknown operation %q", req.Op))
	}
}

func main() {
	// The process lives for two seconds: memory is cheaper than collecting it.
	debug.SetGCPercent(400)
	js.Global().Set("regoc", js.FuncOf(func(_ js.Value, args []js.Value) any {
		text := args[0].String()
		// A blocked callback would block the event loop that Go's timers run on, so the work gets its own goroutine.
		return js.Global().Get("Promise").New(js.FuncOf(func(_ js.Value, settle []js.Value) any {
			go func() {
				out := run(context.Background(), text)
				encoded, err := json.Marshal(out)
				if err != nil {
					settle[1].Invoke(err.Error())
					return
				}
				settle[0].Invoke(string(encoded))
			}()
			return nil
		}))
	}))
	select {}
}
