// Kinds of values in the words of a message.
//
//go:build js && wasm

package main

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/types"
)

// mayBeObject tells whether a type leaves room for an object.
func mayBeObject(kind types.Type) bool {
	switch kind := kind.(type) {
	case nil, *types.Object:
		return true
	case types.Any:
		return len(kind) == 0 || slices.ContainsFunc(kind, mayBeObject)
	}
	return false
}

func aKind(kind types.Type) string {
	name := types.Sprint(kind)
	if at := strings.IndexAny(name, "[<"); at > 0 {
		name = name[:at]
	}
	return withArticle(name)
}

func aKindOf(value ast.Value) string {
	return withArticle(strings.TrimSuffix(ast.ValueName(value), "comprehension"))
}

func withArticle(noun string) string {
	if strings.ContainsAny(noun[:1], "ao") {
		return "an " + noun
	}
	return "a " + noun
}
