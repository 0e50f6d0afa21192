// The form of the bad-input tests: one row, one message, one answer, one record, and a backend that saw no
// byte of it. In: rows. Out: tests.
import { expect, test } from 'vitest'
import type { RefusalCode } from '../../src/refusals.ts'
import { authority, message, type TestGate } from '../support/gate.ts'
import type { RawAnswer } from '../support/raw.ts'

/** A message that has to be refused. */
export interface RefusedRow {
  /** Row of the bad-input matrix, e.g. `A1`. */
  readonly row: string
  /** Which member of the class. */
  readonly name: string
  /** The exact bytes; `token` is a valid lease token. One octet per character. */
  readonly send: (token: string) => string
  readonly status: number
  readonly code: RefusalCode
  /** The connection has to end after the answer. */
  readonly close?: boolean
  /** Further things to ask of the answer. */
  readonly also?: (answer: RawAnswer, problem: Readonly<Record<string, unknown>>) => void
}

/** One test per row. */
export function refusedRows(gate: () => TestGate, rows: readonly RefusedRow[]): void {
  test.each(rows)('$row $name → $status $code', async (row) => {
    await expectRefused(gate(), row)
  })
}

/** Sends the message of `row` and holds everything the matrix asks for against what happened. */
export async function expectRefused(gate: TestGate, row: Omit<RefusedRow, 'row' | 'name'>): Promise<void> {
  const before = gate.records().length
  const seen = gate.backend.bytesSeen().length
  using connection = await gate.connect()
  const sent = row.send(gate.token())
  connection.write(sent)
  const answer = await connection.answer({ toHead: sent.startsWith('HEAD ') })
  const problem =
    answer.body.length === 0 ? {} : (JSON.parse(answer.body.toString()) as Record<string, unknown>)
  expect({ status: answer.status, ...pick(problem) }).toEqual({
    status: row.status,
    ...(answer.body.length === 0 ? {} : { code: row.code, inBody: row.status }),
  })
  expect(answer.headers['content-type']).toBe('application/problem+json')
  if (row.close === true) {
    expect(answer.headers.connection).toBe('close')
    // Whatever was smuggled behind the message gets no answer.
    expect(await connection.closed()).toBe('')
  }
  row.also?.(answer, problem)
  const records = await gate.recordsAfter(before)
  expect(records.map(({ decision, outcome }) => [decision.code, outcome.status, outcome.ended])).toEqual([
    [row.code, row.status, 'refused'],
  ])
  expect(gate.backend.bytesSeen().subarray(seen).toString('latin1')).toBe('')
}

function pick({ code, status }: Readonly<Record<string, unknown>>) {
  return code === undefined ? {} : { code, inBody: status }
}

/**
 * The last test of a file: nothing that a row left behind reaches the backend late, and no row has left a
 * second record.
 */
export function nothingFollows(gate: () => TestGate, ask: () => Promise<RawAnswer>): void {
  test('afterwards: a good request is served, no record is doubled and no byte comes late', async () => {
    const before = gate().records().length
    const seen = gate().backend.requests.length
    const { status } = await ask()
    const records = await gate().recordsAfter(before)
    const ids = gate()
      .records()
      .map(({ decision_id }) => decision_id)
    expect(status).toBe(200)
    expect(records).toHaveLength(1)
    expect(new Set(ids).size).toBe(ids.length)
    expect(gate().backend.requests).toHaveLength(seen + 1)
  })
}

/** Our own Host field. */
export const own = `Host: ${authority}`

/** A GET with these fields. */
export function get(...fields: string[]): (token: string) => string {
  return (token) => message({ token, fields })
}

/** A request with exactly these lines, and its token. */
export function lines(first: string, ...fields: string[]): (token: string) => string {
  return (token) => [first, ...fields, `Authorization: Bearer ${token}`, '', ''].join('\r\n')
}

/** One member of a class. */
export type Case = readonly [name: string, send: (token: string) => string]

/** The members of one class, which all get the same answer. */
export function rows(
  row: string,
  expected: Pick<RefusedRow, 'status' | 'code' | 'close'>,
  cases: readonly Case[],
): RefusedRow[] {
  return cases.map(([name, send]) => ({ row, name, send, ...expected }))
}

export const framing = { status: 400, code: 'malformed_framing', close: true } as const
export const malformed = { status: 400, code: 'malformed_request' } as const
