// How a drill revokes: at the control listener as an operator does, or in the state store as `leasegate revoke`
// does. In: the configuration. Out: the way that works, and which it is. Never prints the operator token.
import { changeLease, revokeAll } from '../../broker/lifecycle.ts'
import type { Config } from '../../config.ts'
import type { RevocationScope } from '../../lease/lease.ts'
import { isObject } from '../../lease/text.ts'
import type { Store } from '../../ports.ts'
import { isRefusal } from '../../refusals.ts'
import { causeOf, controlUrl, readOperatorToken } from '../control_listener.ts'
import { failure, requireLease } from '../lease/with_store.ts'
import { operator } from '../terminal.ts'

/** Resolves once what was asked is acknowledged. Rejects with an Error for people. */
export interface Revoker {
  /** `POST http://…/revocations`, or `the state store directly (why)`. */
  readonly way: string
  revoke(scope: RevocationScope, value: string): Promise<void>
  change(verb: 'suspend' | 'resume', lease: string): Promise<void>
}

const reason = 'revocation drill'
const timeoutMs = 5_000

/**
 * The control listener, `given` or that of the configuration; the state store where that cannot be reached. Throws
 * when it answers otherwise than a control listener with this operator token.
 */
export async function openRevoker(config: Config, store: Store, given?: string): Promise<Revoker> {
  const url = (given ?? controlUrl(config)).replace(/\/$/, '')
  const token = readOperatorToken(config)
  if (token === undefined) {
    return throughStore(store, `${config.control.tokenFile}: no operator token here`)
  }
  const control = new Control(url, token)
  let status: number
  try {
    status = await control.probe()
  } catch (error) {
    const why = `${url} cannot be reached: ${causeOf(error)}`
    if (given !== undefined) throw new Error(`--control: ${why}`)
    return throughStore(store, why)
  }
  if (status === 401) {
    throw new Error(
      `${url} does not know the operator token in control.token_file: copy that of the gate here`,
    )
  }
  if (status !== 200) {
    throw new Error(`${url} answers ${status} to GET /leases: name the control listener with --control`)
  }
  return control
}

class Control implements Revoker {
  readonly #url: string
  readonly #token: string

  constructor(url: string, token: string) {
    this.#url = url
    this.#token = token
  }

  get way(): string {
    return `POST ${this.#url}/revocations`
  }

  /** The status of a call that changes nothing; also opens the connection that the next ones use. */
  async probe(): Promise<number> {
    const response = await this.#send('GET', '/leases?limit=1')
    await response.arrayBuffer()
    return response.status
  }

  revoke(scope: RevocationScope, value: string): Promise<void> {
    return this.#order('/revocations', { [scope]: value, reason })
  }

  change(verb: 'suspend' | 'resume', lease: string): Promise<void> {
    return this.#order(`/leases/${lease}/${verb}`, { reason })
  }

  async #order(path: string, ask: object): Promise<void> {
    const response = await this.#send('POST', path, ask)
    const answer: unknown = await response.json().catch(() => undefined)
    if (response.ok) return
    const { code, detail } = isObject(answer) ? answer : {}
    const hint = code === 'lease_unknown' ? '; its state store is not the one of this configuration' : ''
    throw new Error(`POST ${this.#url}${path} answers ${response.status} ${code}: ${detail}${hint}`)
  }

  #send(method: 'GET' | 'POST', path: string, ask?: object): Promise<Response> {
    return fetch(`${this.#url}${path}`, {
      method,
      headers: { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json' },
      signal: AbortSignal.timeout(timeoutMs),
      redirect: 'error',
      ...(ask !== undefined && { body: JSON.stringify(ask) }),
    })
  }
}

function throughStore(store: Store, why: string): Revoker {
  const now = () => Date.now() / 1000
  const by = operator()
  return {
    way: `the state store directly (${why})`,
    async revoke(scope, value) {
      const revoked = await revokeAll({ scope, value, reason, by }, store, now())
      if (isRefusal(revoked)) throw failure(revoked)
    },
    async change(verb, lease) {
      const record = await requireLease(lease, store)
      const changed = await changeLease(record, { verb, by, reason, now: now() }, store)
      if (isRefusal(changed)) throw failure(changed)
    },
  }
}
