// One connection to a gate, over which the canary is called again and again: whoever answers first answers on.
// In: a lease token. Out: what became of the call and when, or a stream and how it ended. Never prints a token,
// never repeats a call by itself.
import {
  type ClientRequest,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
} from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { isIP } from 'node:net'
import { type CanaryAnswer, canaryPrefix } from '../../http/canary.ts'
import { isObject, isPlainText } from '../../lease/text.ts'

/** Where a gate is reached. */
export interface GateAddress {
  readonly url: URL
  /** Authority of `public_origin`: what agents, and so the drill, send in Host. */
  readonly authority: string
}

/** Milliseconds of the steady clock. */
interface Times {
  readonly sentAt: number
  readonly answeredAt: number
}

/** What became of one call. */
export type CanaryCall = Times &
  (
    | { readonly outcome: 'accepted'; readonly process: CanaryAnswer }
    | {
        readonly outcome: 'refused'
        readonly status: number
        /** Of the problem document; empty where there was none. */
        readonly code: string
        readonly detail: string
        readonly reasons: readonly string[]
        /** The gate's clock less ours, seconds; undefined where it does not say. */
        readonly clockAheadSeconds: number | undefined
      }
    | { readonly outcome: 'failed'; readonly cause: string }
  )

/** A stream that has begun. */
export interface CanaryStream {
  /** Resolves once it is over: when, and what the gate said about why. */
  readonly over: Promise<{ readonly endedAt: number; readonly reason: string }>
  close(): void
}

const timeoutMs = 5_000
/** No gate has more; what says so is none. */
const mostWorkers = 1_024

/** One connection, made at the first call and again after it was lost. */
export class GateConnection {
  readonly gate: GateAddress
  /** Who answered last. */
  process: CanaryAnswer | undefined
  readonly #agent: HttpAgent

  constructor(gate: GateAddress) {
    this.gate = gate
    this.#agent = agentFor(gate, 1)
  }

  async call(token: string): Promise<CanaryCall> {
    const sentAt = performance.now()
    try {
      const res = await head(send(this.gate, this.#agent, '/canary', token))
      const text = await body(res)
      const answeredAt = performance.now()
      const read = readAnswer(res, text)
      if (read.outcome === 'accepted') this.process = read.process
      return { sentAt, answeredAt, ...read }
    } catch (error) {
      return { sentAt, answeredAt: performance.now(), outcome: 'failed', cause: causeOf(error) }
    }
  }

  close(): void {
    this.#agent.destroy()
  }
}

/** Opens a stream on a connection of its own. Throws when it does not begin. */
export async function openStream(gate: GateAddress, token: string): Promise<CanaryStream> {
  const agent = agentFor(gate, 1)
  const request = send(gate, agent, '/canary/stream', token)
  const res = await head(request)
  if (res.statusCode !== 200) {
    agent.destroy()
    throw new Error(`a stream through ${gate.url.origin} was answered with ${res.statusCode}`)
  }
  let text = ''
  const first = Promise.withResolvers<void>()
  const end = Promise.withResolvers<{ endedAt: number; reason: string }>()
  const over = (how: string) => {
    agent.destroy()
    first.resolve()
    end.resolve({ endedAt: performance.now(), reason: reasonIn(text, res) ?? how })
  }
  res.setEncoding('utf8')
  res.on('data', (chunk: string) => {
    text = (text + chunk).slice(-4_096)
    first.resolve()
  })
  res.once('end', () => over('ended without a reason'))
  res.once('error', () => over('connection cut'))
  await first.promise
  request.setTimeout(0)
  return { over: end.promise, close: () => void request.destroy() }
}

function agentFor({ url, authority }: GateAddress, maxSockets: number): HttpAgent {
  if (url.protocol === 'http:') return new HttpAgent({ keepAlive: true, maxSockets })
  // An address is not what the certificate names.
  const servername = isIP(url.hostname.replace(/^\[|\]$/g, '')) === 0 ? url.hostname : hostOf(authority)
  return new HttpsAgent({ keepAlive: true, maxSockets, servername })
}

function hostOf(authority: string): string {
  return new URL(`https://${authority}`).hostname
}

function send({ url, authority }: GateAddress, agent: HttpAgent, path: string, token: string): ClientRequest {
  const options = {
    agent,
    path: `${canaryPrefix}${path}`,
    headers: { host: authority, authorization: `Bearer ${token}` },
    timeout: timeoutMs,
  }
  const request = url.protocol === 'http:' ? httpRequest(url, options) : httpsRequest(url, options)
  request.once('timeout', () => request.destroy(Object.assign(new Error('timeout'), { code: 'ETIMEDOUT' })))
  request.end()
  return request
}

function head(request: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.once('response', resolve)
    // Stays: what breaks later shows in the answer.
    request.on('error', reject)
  })
}

async function body(res: IncomingMessage): Promise<string> {
  let text = ''
  res.setEncoding('utf8')
  for await (const chunk of res) text += chunk
  return text
}

type Read<Call = CanaryCall> = Call extends Times ? Omit<Call, keyof Times> : never

function readAnswer(res: IncomingMessage, text: string): Read {
  const json = parse(text)
  const status = res.statusCode ?? 0
  if (status === 200 && isCanaryAnswer(json)) return { outcome: 'accepted', process: json }
  const problem = isObject(json) ? json : {}
  const dateMs = Date.parse(res.headers.date ?? '')
  return {
    outcome: 'refused',
    status,
    code: textOf(problem.code),
    detail: textOf(problem.detail),
    reasons: Array.isArray(problem.reasons) ? problem.reasons.map(textOf) : [],
    clockAheadSeconds: Number.isNaN(dateMs) ? undefined : Math.round((dateMs - Date.now()) / 1_000),
  }
}

function isCanaryAnswer(json: unknown): json is CanaryAnswer {
  if (!isObject(json)) return false
  const { gate, worker, workers } = json
  const isNumber = (value: unknown) => Number.isSafeInteger(value) && Number(value) > 0
  const numbered = isNumber(worker) && isNumber(workers) && Number(worker) <= Number(workers)
  return typeof gate === 'string' && isPlainText(gate) && numbered && Number(workers) <= mostWorkers
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Whoever answers at that address, it is for a terminal. */
function textOf(value: unknown): string {
  return typeof value === 'string' ? value.replace(/[\p{Cc}\p{Cf}]/gu, '?').slice(0, 256) : ''
}

/** The code in the last event or, where the protocol has no event for it, in the trailers. */
function reasonIn(text: string, { trailers }: IncomingMessage): string | undefined {
  const last = text.split('\n').findLast((line) => line.startsWith('data:'))
  const json = parse(last?.slice('data:'.length) ?? '')
  if (isObject(json) && typeof json.code === 'string') return textOf(json.code)
  return Object.entries(trailers).map(([name, value]) => textOf(`${name}: ${value}`))[0]
}

/** An error's code: its message may name addresses, and says no more. */
function causeOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  return code ?? message
}
