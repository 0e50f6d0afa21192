// A gate with two workers as people run it, in front of a recording backend: connections that are known to lead
// to one worker, and calls on them. Never asks a worker anything but through its sockets.
import { readFileSync } from 'node:fs'
import { type Served, Workplace } from '../cli/process.ts'
import { type RecordingBackend, startRecordingBackend } from './backends.ts'
import { eventually, grantsFor } from './gate.ts'
import { ask, RawConnection } from './raw.ts'
import { type Json, type TestIssuer, testIssuer } from './tokens.ts'

export interface ReadyWorker {
  readonly name: string
  readonly ready: boolean
  readonly detail: string
  readonly pid: number
}

let leases = 0

/** Two workers, one configuration. */
export class TwoWorkers implements AsyncDisposable {
  readonly place: Workplace
  readonly backend: RecordingBackend
  readonly issuer: TestIssuer
  readonly served: Served

  private constructor(place: Workplace, backend: RecordingBackend, issuer: TestIssuer, served: Served) {
    this.place = place
    this.backend = backend
    this.issuer = issuer
    this.served = served
  }

  /** Starts them; `changes` to the configuration, `crm` to the backend in it. */
  static async start(changes: Json = {}, crm: Json = {}): Promise<TwoWorkers> {
    const [place, backend] = await Promise.all([Workplace.open(), startRecordingBackend()])
    try {
      await place.compilePolicy()
      const issuer = testIssuer({ audience: place.origin })
      place.write('jwks.json', JSON.stringify(issuer.jwks))
      place.configure(
        backend.url,
        {
          workers: 2,
          issuers: [{ issuer: issuer.issuer, jwks: { file: './jwks.json' } }],
          proofs: { nonce: 'optional' },
          ...changes,
        },
        crm,
      )
      const two = new TwoWorkers(place, backend, issuer, await place.serve())
      await eventually(async () => (await two.readiness()).ready, 'two ready workers', 30)
      return two
    } catch (error) {
      await Promise.all([place[Symbol.asyncDispose](), backend.close()])
      throw error
    }
  }

  get port(): number {
    return this.place.ports.proxy
  }

  async readiness(): Promise<{ ready: boolean; workers: ReadyWorker[] }> {
    const response = await this.place.get('/readyz')
    const body = (await response.json()) as { ready: boolean; checks: Omit<ReadyWorker, 'pid'>[] }
    const workers = body.checks
      .filter(({ name }) => name.startsWith('worker '))
      .map((row) => ({ ...row, pid: Number(/^process (\d+)/.exec(row.detail)?.[1]) }))
    return { ready: body.ready, workers }
  }

  /** Process ids, that of worker 1 first. */
  async pids(): Promise<[number, number]> {
    const [first, second] = (await this.readiness()).workers
    return [first!.pid, second!.pid]
  }

  /** Runs `work` while the other worker is stopped: what connects meanwhile is accepted by `pid`. */
  async with<T>(pid: number, work: () => Promise<T>): Promise<T> {
    const others = (await this.pids()).filter((each) => each !== pid)
    for (const other of others) process.kill(other, 'SIGSTOP')
    try {
      return await work()
    } finally {
      for (const other of others) process.kill(other, 'SIGCONT')
    }
  }

  /** Connections that `pid` has accepted and answered on once. */
  connections(pid: number, count: number): Promise<RawConnection[]> {
    return this.with(pid, () =>
      Promise.all(
        Array.from({ length: count }, async () => {
          const connection = await RawConnection.open(this.port)
          connection.write(this.request('none'))
          await connection.answer()
          return connection
        }),
      ),
    )
  }

  /** Of a lease of its own that may read and update customer 9821. */
  token(claims: Json = {}, constraints?: Json, id = `lse_w${++leases}`): string {
    const usual = this.issuer.claims() as { lease: Json }
    const [grant] = grantsFor('crm', ['customer/9821'])
    return this.issuer.token({
      jti: `ltk_${id}`,
      authorization_details: [{ ...grant, ...(constraints === undefined ? {} : { constraints }) }],
      lease: { ...usual.lease, id, session: `ses_${id}`, stage: 'execute' },
      ...claims,
    })
  }

  request(token: string, { scheme = 'Bearer', fields = [] as readonly string[] } = {}): string {
    const lines = [`Host: 127.0.0.1:${this.port}`, `Authorization: ${scheme} ${token}`, ...fields]
    return `GET /crm/customers/9821 HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`
  }

  /** One call, on a connection of its own or on one that is open. */
  async call(token: string, connection?: RawConnection): Promise<{ status: number; code?: string }> {
    connection?.write(this.request(token))
    const answer = await (connection?.answer() ?? ask(this.port, this.request(token)))
    const { code } = JSON.parse(answer.body.toString() || '{}') as { code?: string }
    return { status: answer.status, ...(code === undefined ? {} : { code }) }
  }

  revoke(what: Json): Promise<Response> {
    const token = readFileSync(this.place.path('data/control.token'), 'utf8').trim()
    return fetch(`http://127.0.0.1:${this.place.ports.control}/revocations`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ reason: 'leaked', ...what }),
    })
  }

  /** The value of one series, labels as they are written; 0 where there is none. */
  async metric(series: string): Promise<number> {
    const text = await (await this.place.get('/metrics')).text()
    const line = text.split('\n').find((each) => each.startsWith(`${series} `))
    return line === undefined ? 0 : Number(line.slice(series.length + 1))
  }

  /** Resolves once both are ready and neither is one of `gone`. */
  async replaced(...gone: readonly number[]): Promise<void> {
    await eventually(
      async () => {
        const { ready, workers } = await this.readiness()
        return ready && workers.every(({ pid }) => !gone.includes(pid))
      },
      'a replacement',
      60,
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.place[Symbol.asyncDispose](), this.backend.close()])
  }
}
