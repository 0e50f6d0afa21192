// Comparisons with a constant that the other side never is, by the words that the schema of the input allows.
//
//go:build js && wasm

package main

import (
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// comparison is `field == value` or `field in values` as the compiler writes it.
type comparison struct {
	field  ast.Ref
	values []*ast.Term
	// holds is false for `!=` and under `not`: the values are then what the field is not.
	holds bool
}

// comparisonsIn reads one expression: none, one, or two where both sides are fields.
func (l *linter) comparisonsIn(expr *ast.Expr, b bindings) []comparison {
	if !expr.IsCall() || len(expr.With) > 0 || len(expr.Operands()) < 2 {
		return nil
	}
	left, right := expr.Operand(0), expr.Operand(1)
	switch operator := expr.Operator().String(); operator {
	case ast.Equality.Name, ast.Equal.Name, ast.NotEqual.Name:
		holds := !expr.Negated && operator != ast.NotEqual.Name
		return append(l.compared(left, right, b, holds), l.compared(right, left, b, holds)...)
	case ast.Member.Name:
		values, known := l.constants(right, b)
		field, isRef := b.ref(left)
		if known && isRef {
			return []comparison{{field, values, !expr.Negated && len(expr.Operands()) == 2}}
		}
	}
	return nil
}

func (l *linter) compared(field, value *ast.Term, b bindings, holds bool) []comparison {
	ref, isRef := b.ref(field)
	constant := b.value(value)
	if !isRef || !ast.IsScalar(constant.Value) {
		return nil
	}
	return []comparison{{ref, []*ast.Term{constant}, holds}}
}

// comparisons reports each constant outside the words of its field.
func (l *linter) comparisons() {
	l.eachRule(func(rule *ast.Rule, b bindings) {
		ast.WalkExprs(rule.Body, func(expr *ast.Expr) bool {
			for _, c := range l.comparisonsIn(expr, b) {
				words := enumOf(schemaAt(l.schema, c.field))
				for _, value := range c.values {
					if len(words) > 0 && !slices.ContainsFunc(words, func(w ast.Value) bool { return w.Compare(value.Value) == 0 }) {
						l.report(neverIs(l.shown(c.field), value, words))
					}
				}
			}
			return false
		})
	})
}

// shown is a reference as its author wrote it, `_` for a variable that only the compiler knows.
func (l *linter) shown(ref ast.Ref) string {
	out := ref.Copy()
	for i, part := range out {
		if name, isVar := part.Value.(ast.Var); isVar && i > 0 {
			written, known := l.compiler.RewrittenVars[name]
			if !known || written.IsGenerated() {
				written = "_"
			}
			out[i] = ast.VarTerm(string(written))
		}
	}
	return out.String()
}

func neverIs(field string, value *ast.Term, words []ast.Value) diagnostic {
	names := make([]string, 0, len(words))
	for _, word := range words {
		names = append(names, word.String())
	}
	return diagnostic{
		Code:    "value_never",
		Message: fmt.Sprintf("%s is never %v", field, value),
		Hint:    didYouMean("", value.String(), names),
	}.at(value.Location)
}

// schemaAt is the part of a JSON Schema about a reference into the input; nil where it says nothing.
func schemaAt(schema any, ref ast.Ref) any {
	if len(ref) == 0 || !ref[0].Equal(ast.InputRootDocument) {
		return nil
	}
	for _, part := range ref[1:] {
		schema = schemaMember(schema, part)
	}
	return schema
}

func schemaMember(schema any, part *ast.Term) any {
	object, _ := schema.(map[string]any)
	if variants, ok := object["anyOf"].([]any); ok {
		for _, variant := range variants {
			if inner := schemaMember(variant, part); inner != nil {
				return inner
			}
		}
	}
	if name, ok := part.Value.(ast.String); ok {
		if properties, ok := object["properties"].(map[string]any); ok && properties[string(name)] != nil {
			return properties[string(name)]
		}
		return object["additionalProperties"]
	}
	return object["items"]
}

// enumOf are the values that a schema allows; empty when it does not list them.
func enumOf(schema any) []ast.Value {
	object, _ := schema.(map[string]any)
	listed, _ := object["enum"].([]any)
	if constant, ok := object["const"]; ok {
		listed = append(listed, constant)
	}
	var out []ast.Value
	for _, item := range listed {
		if value, err := ast.InterfaceToValue(item); err == nil {
			out = append(out, value)
		}
	}
	return out
}
