// In: gates to ask, leases to ask under. Out: requests all the time, each with a number of its own in its path,
// what came of them, and the numbers that the backend saw. Never waits for one answer to send the next.
import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { startHttp, type TestServer } from '../support/backends.ts'
import { authority } from '../support/gate.ts'
import type { Ask } from './judge.ts'

/** One gate as agents reach it. */
export interface Target {
  readonly name: string
  readonly host: string
  readonly port: number
}

export interface Lease {
  readonly id: string
  readonly token: string
}

/** A request that gets no answer for so long is given up; longer than any fault. */
const patienceMs = 20_000
/** Requests under way to one gate; more are not started: a frozen gate must not eat our sockets. */
const mostUnderWay = 200

/** The backend: remembers which requests reached it. */
export async function startCountingBackend(): Promise<TestServer & { readonly reached: Set<number> }> {
  const reached = new Set<number>()
  const server = await startHttp((req, res) => {
    reached.add(Number(req.url!.slice(req.url!.lastIndexOf('/') + 1)))
    res.writeHead(200, { 'content-type': 'application/json', 'content-length': 2 }).end('{}')
  })
  return { ...server, reached }
}

export class Traffic {
  readonly asks: Ask[] = []
  readonly #agents = new Map<string, { agent: http.Agent; underWay: number }>()
  readonly #running = new Set<Promise<void>>()
  #next = 1
  #stopped = false

  /** Asks `target` again and again under leases that `pick` names, `perSecond` times a second. */
  run(target: Target, perSecond: number, pick: (turn: number) => Lease): void {
    this.#running.add(this.#send(target, perSecond, pick))
  }

  /** Ends all that runs and waits for the answers. */
  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#running)
    for (const { agent } of this.#agents.values()) agent.destroy()
  }

  /** One request, whose outcome is recorded as well. */
  ask(target: Target, { id, token }: Lease): Promise<Ask & { readonly code: string | undefined }> {
    const number = this.#next++
    const lane = this.#lane(target.name)
    lane.underWay++
    const { promise, resolve } = Promise.withResolvers<Ask & { code: string | undefined }>()
    const sentMs = performance.now()
    let settled = false
    const settle = (status: number | undefined, text = '') => {
      if (settled) return
      settled = true
      lane.underWay--
      const answered = { number, gate: target.name, lease: id, sentMs, answeredMs: performance.now(), status }
      this.asks.push(answered)
      resolve({ ...answered, code: codeOf(text) })
    }
    const { host, port } = target
    const headers = { host: authority, authorization: `Bearer ${token}` }
    const path = `/crm/customers/${number}`
    const request = http.request({ host, port, path, headers, agent: lane.agent, timeout: patienceMs })
    request.on('timeout', () => request.destroy())
    request.on('error', () => settle(undefined))
    request.on('response', (res) => {
      let text = ''
      res.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      // An answer that breaks off has still been given.
      res.on('error', () => {})
      res.on('close', () => settle(res.statusCode, text))
    })
    request.end()
    return promise
  }

  async #send(target: Target, perSecond: number, pick: (turn: number) => Lease): Promise<void> {
    const under = new Set<Promise<unknown>>()
    for (let turn = 0; !this.#stopped; turn++) {
      // Never in a burst to catch up: a machine that is slow for a moment is not helped by that.
      await sleep(1000 / perSecond)
      if (this.#lane(target.name).underWay >= mostUnderWay) continue
      const asked = this.ask(target, pick(turn))
      under.add(asked)
      void asked.then(() => under.delete(asked))
    }
    await Promise.all(under)
  }

  #lane(name: string) {
    const known = this.#agents.get(name)
    if (known !== undefined) return known
    const lane = { agent: new http.Agent({ keepAlive: true, maxSockets: mostUnderWay }), underWay: 0 }
    this.#agents.set(name, lane)
    return lane
  }
}

function codeOf(text: string): string | undefined {
  return text.startsWith('{') ? (JSON.parse(text) as { code?: string }).code : undefined
}
