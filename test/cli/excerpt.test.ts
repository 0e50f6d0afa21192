// A diagnostic as people see it: carets under the wrong part, whatever stands before it in the line.
import { expect, test } from 'vitest'
import { excerpt, type Paint } from '../../src/commands/policy/excerpt.ts'
import type { Diagnostic } from '../../src/policy/diagnostic.ts'

const marked = (mark: string) => (text: string) => `<${mark}>${text}</${mark}>`
const plain = (text: string) => text
const paint: Paint = { bold: plain, dim: plain, red: plain, yellow: plain, cyan: plain }

const at = (line: number, column: number, endColumn?: number): Diagnostic => ({
  file: 'authz.rego',
  line,
  column,
  code: 'rego_type_error',
  message: 'wrong',
  ...(endColumn === undefined ? {} : { endColumn }),
})

const rows: readonly (readonly [name: string, source: string, Diagnostic, shown: string, carets: string])[] =
  [
    ['a word', 'allow if input.usr', at(1, 16, 19), '1 | allow if input.usr', '  |                ^^^'],
    ['no end', 'allow if input.usr', at(1, 16), '1 | allow if input.usr', '  |                ^'],
    ['a tab before it', '\tinput.usr\t== 1', at(1, 8, 11), '1 | \tinput.usr\t== 1', '  | \t      ^^^'],
    ['wide characters before it', '"客户" == x', at(1, 9, 10), '1 | "客户" == x', '  |           ^'],
    ['wide characters in it', 'x == "客户"', at(1, 6, 10), '1 | x == "客户"', '  |      ^^^^^^'],
    ['a combining accent before it', 'e\u0301 == x', at(1, 7, 8), '1 | e\u0301 == x', '  |      ^'],
    ['a character outside the basic plane', '"😀" == x', at(1, 8, 9), '1 | "😀" == x', '  |         ^'],
    ['the end of the line', 'x := {', at(1, 7), '1 | x := {', '  |       ^'],
    ['an end beyond the line', 'x := 1', at(1, 6, 99), '1 | x := 1', '  |      ^'],
    ['a line that ends as on Windows', 'a\r\nx := 1\r\n', at(2, 1, 2), '2 | x := 1', '  | ^'],
    ['an escape sequence', 'x == "\u001b[2J"', at(1, 1, 2), '1 | x == "�[2J"', '  | ^'],
  ]

test.each(rows)('%s', (_name, source, diagnostic, shown, carets) => {
  expect(excerpt(diagnostic, source, paint)).toEqual([
    `authz.rego:${diagnostic.line}:${diagnostic.column}: error: wrong [rego_type_error]`,
    `  ${shown}`,
    `  ${carets}`,
  ])
})

test('a long line is cut around the wrong part', () => {
  const source = `${'a'.repeat(5_000)}wrong${'b'.repeat(5_000)}`
  const [, shown = '', carets = ''] = excerpt(at(1, 5_001, 5_006), source, paint)
  expect(shown).toBe(`  1 | …${'a'.repeat(60)}wrong${'b'.repeat(95)}…`)
  expect(carets.indexOf('^^^^^')).toBe(shown.indexOf('wrong'))
})

test('a line that cannot be had leaves the message and the hint', () => {
  const told = { ...at(3, 1), severity: 'warning', hint: 'did you mean \u001b[31mred?' } as const
  const lines = ['authz.rego:3:1: warning: wrong [rego_type_error]', '    = did you mean �[31mred?']
  expect(excerpt(told, undefined, paint)).toEqual(lines)
  expect(excerpt(told, 'one line', paint)).toEqual(lines)
  expect(excerpt({ ...at(0, 0), file: '' }, undefined, paint)).toEqual(['error: wrong [rego_type_error]'])
  expect(excerpt({ ...at(0, 0), file: 'dir' }, undefined, paint)).toEqual([
    'dir: error: wrong [rego_type_error]',
  ])
})

test('every part has a style of its own', () => {
  const styles = {
    bold: marked('b'),
    dim: marked('d'),
    red: marked('r'),
    yellow: marked('y'),
    cyan: marked('c'),
  }
  expect(excerpt({ ...at(1, 1, 2), hint: 'y?' }, 'x', styles)).toEqual([
    '<b>authz.rego:1:1:</b> <r>error:</r> wrong <d>[rego_type_error]</d>',
    '  <d>1 |</d> x',
    '  <d>  |</d> <r>^</r>',
    '  <d>  =</d> <c>y?</c>',
  ])
})
