// What `policy check` says about rows of Rego, for the tests of it. In: rows. Out: an expectation per table, one run
// of the compiler for all of it.
import { expect } from 'vitest'
import type { Diagnostic } from '../../src/policy/diagnostic.ts'
import type { MappedOperation } from '../../src/policy/mapped.ts'
import { runToolchain } from '../../src/policy/toolchain.ts'

/** Expected is what is told, as `told` writes it. */
export type Row = readonly [name: string, rego: string, ...expected: string[]]

/** Reaches every rule of every row, so that none of them counts as unused. */
const authz = `package leasegate.authz

default decision := {"effect": "deny", "reasons": []}

decision := {"effect": "allow", "reasons": []} if data.rows
`

/** `line:column-endColumn severity code: message -> hint`. */
export function told({ line, column, endColumn, severity, code, message, hint }: Diagnostic): string {
  const place = `${line}:${column}-${endColumn ?? ''}`
  return `${place} ${severity ?? 'error'} ${code}: ${message}${hint === undefined ? '' : ` -> ${hint}`}`
}

interface Policy {
  readonly files: Readonly<Record<string, string>>
  readonly data?: Readonly<Record<string, unknown>>
  readonly mapped?: readonly MappedOperation[]
}

export async function diagnose({ files, data = {}, mapped = [] }: Policy): Promise<readonly Diagnostic[]> {
  return (await runToolchain({ files, data, mapped }, ['check'])).diagnostics
}

/** Names what is told about each row as the row does. Each is a file and a package of its own. */
export async function expectRows(
  rows: readonly Row[],
  { policy = authz, mapped = [] }: { policy?: string; mapped?: readonly MappedOperation[] } = {},
): Promise<void> {
  const name = (index: number): string => `row_${index}.rego`
  const texts = rows.map(
    ([, rego], index) => [name(index), `package rows.row_${index}\n\n${rego}\n`] as const,
  )
  const diagnostics = await diagnose({
    files: { 'authz.rego': policy, ...Object.fromEntries(texts) },
    data: { profiles: {}, users: {} },
    mapped,
  })
  const actual = rows.map(([row, rego], index) => {
    const own = diagnostics.filter(({ file }) => file === name(index))
    return [row, rego, ...own.map(told)]
  })
  expect(actual).toEqual(rows)
}
