// What the tests of lease tokens share: a gate with two issuers, one of them over HTTP, and the rows that
// differ in their token alone. The HTTP one counts what it is asked for.
import { expect } from 'vitest'
import { startHttp } from '../support/backends.ts'
import { message, publicOrigin, startTestGate, type TestGate } from '../support/gate.ts'
import type { RawAnswer } from '../support/raw.ts'
import { type TestIssuer, testIssuer } from '../support/tokens.ts'
import type { RefusedRow } from './matrix.ts'

/** A gate, and the issuer whose keys and status lists come over HTTP. */
export interface TwoIssuers {
  readonly gate: TestGate
  readonly remote: TestIssuer
  /** Where the remote issuer publishes. */
  readonly remoteUrl: string
  /** Paths that were fetched from it. */
  readonly fetched: readonly string[]
  /** Status lists by path; what is not here cannot be reached. */
  readonly lists: Map<string, string>
  close(): Promise<void>
}

/** Starts both. The view of revocations may be 300 ms old. */
export async function startTwoIssuers(): Promise<TwoIssuers> {
  const remote = testIssuer({ issuer: 'https://remote.example', audience: publicOrigin, kid: 'remote-1' })
  const fetched: string[] = []
  const lists = new Map<string, string>()
  const server = await startHttp((req, res) => {
    fetched.push(req.url ?? '')
    const body = req.url === '/jwks' ? JSON.stringify(remote.jwks) : lists.get(req.url ?? '')
    if (body === undefined) res.destroy()
    else res.end(body)
  })
  const status_lists = [`${server.url}/lists`]
  const gate = await startTestGate({
    crm: { env: 'prod' },
    config: {
      state: { max_staleness: '300ms' },
      issuers: [
        { issuer: 'https://broker.example', jwks: { file: './jwks.json' } },
        { issuer: remote.issuer, jwks: { url: `${server.url}/jwks` }, status_lists },
      ],
    },
  })
  const close = async () => {
    await gate.close()
    await server.close()
  }
  return { gate, remote, remoteUrl: server.url, fetched, lists, close }
}

/** Now, in seconds. */
export const now = () => Math.floor(Date.now() / 1000)

/** The challenge of RFC 6750 §3 and RFC 9728 §5.1. */
export function challenged({ headers }: RawAnswer, problem: Readonly<Record<string, unknown>>): void {
  expect(problem.error).toBe('invalid_token')
  expect(headers['www-authenticate']).toMatch(/^Bearer error="invalid_token", error_description="[^"]+", /)
  expect(headers['www-authenticate']).toContain(
    `resource_metadata="${publicOrigin}/.well-known/oauth-protected-resource/crm"`,
  )
}

/** A token, made when its test runs; it gets a valid one. */
export type TokenOf = (token: string) => string

/** Rows that differ in their token alone. */
export function tokens(
  row: string,
  cases: readonly (readonly [name: string, token: TokenOf])[],
  expected: Pick<RefusedRow, 'status' | 'code' | 'also'> = {
    status: 401,
    code: 'lease_invalid',
    also: challenged,
  },
): RefusedRow[] {
  return cases.map(([name, token]) => ({
    row,
    name,
    send: (valid) => message({ token: token(valid) }),
    ...expected,
  }))
}
