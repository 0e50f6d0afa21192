// Policy from signed bundles: a real HTTP server that gives them, the real toolchain that opens them, and the
// live policy that follows.
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type BundleSettings, bundleSource } from '../../src/policy/bundle_source.ts'
import { formatDiagnostic } from '../../src/policy/diagnostic.ts'
import { type LivePolicy, openPolicy, type PolicyEvent } from '../../src/policy/live.ts'
import { startHttp, type TestServer } from '../support/backends.ts'
import { files, signedBundle, signingKey } from '../support/bundles.ts'
import { eventually } from '../support/gate.ts'
import { compiled, PolicyDir, reading } from './support.ts'

const key = signingKey()
const stranger = signingKey()
const input = JSON.stringify(reading)

let server: TestServer
let wasm: Uint8Array
let answer: (req: IncomingMessage, res: ServerResponse) => void
const asked: { readonly etag: string | undefined; readonly credential: string | undefined }[] = []

beforeAll(async () => {
  wasm = await compiled('decision := {"effect": "deny", "reasons": [data.reason]}')
  server = await startHttp((req, res) => {
    asked.push({ etag: req.headers['if-none-match'], credential: req.headers.authorization })
    answer(req, res)
  })
})
afterAll(() => server.close())
beforeEach(() => {
  asked.length = 0
})

/** A bundle whose policy refuses everything for `reason`. */
function saying(reason: string, how = { key }): Buffer {
  const manifest = JSON.stringify({ revision: `rev-${reason}`, roots: [''] })
  return signedBundle(
    { 'policy.wasm': wasm, 'data.json': JSON.stringify({ reason }), '.manifest': manifest },
    how,
  )
}

/** What the server gives from now on, under a tag of its own. */
function publish(bytes: Uint8Array, etag: string | null = `"${asked.length}-${bytes.length}"`): void {
  answer = (req, res) => {
    if (etag === null) res.writeHead(200).end(bytes)
    else if (req.headers['if-none-match'] === etag) res.writeHead(304, { etag }).end()
    else res.writeHead(200, { etag }).end(bytes)
  }
}

function fail(status: number, headers: Record<string, string> = {}): void {
  answer = (_, res) => res.writeHead(status, headers).end('no')
}

/** A live policy on a bundle source, everything that it said, and a directory that goes away with it. */
class Following implements AsyncDisposable {
  readonly events: PolicyEvent[] = []
  readonly faults: string[] = []
  readonly dir = new PolicyDir()
  readonly cache = join(this.dir.path, 'data', 'bundle.tar.gz')
  source!: ReturnType<typeof bundleSource>
  live!: LivePolicy

  async open(
    settings: Partial<BundleSettings> = {},
    reload: 'on_change' | 'never' = 'on_change',
  ): Promise<this> {
    await this.live?.close()
    this.source = bundleSource({
      place: { url: `${server.url}/policy/bundle.tar.gz?sig=url-secret` },
      pollMs: 20,
      verification: { keys: [key.publicKey], scope: '' },
      cache: this.cache,
      ...settings,
      reload,
      onFault: (fault) => this.faults.push(fault),
    })
    this.live = await openPolicy({ source: this.source, onEvent: (event) => this.events.push(event) })
    return this
  }

  says(): readonly string[] {
    return this.live.current.evaluate(input).reasons
  }

  async until(reason: string): Promise<void> {
    await eventually(() => this.says()[0] === reason, `the policy that says ${reason}`)
  }

  /** Diagnostics of the last event, one a line. */
  async rejected(count = 1): Promise<string> {
    await eventually(() => this.rejections().length >= count, 'a rejection')
    return this.rejections().at(-1)!
  }

  rejections(): string[] {
    return this.events.flatMap((event) =>
      event.type === 'rejected' ? [event.diagnostics.map(formatDiagnostic).join('\n')] : [],
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.live?.close()
    this.dir[Symbol.dispose]()
  }
}

/** Waits for some more polls. */
async function polls(count = 3): Promise<void> {
  const before = asked.length
  await eventually(() => asked.length >= before + count, 'a poll')
}

describe('a place that answers', () => {
  it('is asked with the tag of what is live; another bundle there goes live', async () => {
    publish(saying('first'), '"one"')
    await using following = await new Following().open()
    expect(following.says()).toEqual(['first'])
    await polls()
    expect(asked.slice(1).every(({ etag }) => etag === '"one"')).toBe(true)
    expect(following.events).toEqual([])
    expect(following.source.status()).toMatchObject({ revision: 'rev-first', fault: undefined })

    publish(saying('second'), '"two"')
    await following.until('second')
    expect(following.events).toEqual([{ type: 'reloaded', digest: following.live.current.digest }])
    await eventually(() => following.source.status().revision === 'rev-second', 'the revision')
    await polls()
    expect(asked.at(-1)?.etag).toBe('"two"')
  })

  it('may do without tags: equal bytes are no change', async () => {
    publish(saying('first'), null)
    await using following = await new Following().open()
    await polls()
    expect(asked.every(({ etag }) => etag === undefined)).toBe(true)
    expect(following.events).toEqual([])
  })

  it('gets the credential, which no message shows, nor the query of the URL', async () => {
    publish(saying('first'))
    const credential = { header: 'authorization', value: 'Bearer credential-secret' }
    await using following = await new Following().open({ credential })
    expect(asked[0]?.credential).toBe('Bearer credential-secret')
    fail(401)
    await eventually(() => following.faults.length > 0, 'a fault')
    const event = await following.live.reloadNow()
    const said = JSON.stringify([following.faults, event, following.live.status(), following.source.status()])
    expect(said).toContain(`${server.url}/policy/bundle.tar.gz: it answered 401`)
    expect(said).not.toMatch(/secret/)
  })

  it('with Rego gives a policy that is checked and tested as one in a directory is', async () => {
    publish(signedBundle(files, { key }))
    await using following = await new Following().open()
    expect(following.says()).toEqual(['a <b> & é'])
    const failing = 'package leasegate.authz_test\n\ntest_never if 1 == 2\n'
    publish(signedBundle({ ...files, 'authz_test.rego': failing }, { key }))
    expect(await following.rejected()).toBe('authz_test.rego:3:1: test_failed: test_never')
    expect(following.says()).toEqual(['a <b> & é'])
  })

  it('is not asked by itself where reload is never', async () => {
    publish(saying('first'))
    await using following = await new Following().open({}, 'never')
    publish(saying('second'))
    await following.live.reloadNow()
    expect(following.says()).toEqual(['second'])
    expect(asked).toHaveLength(2)
  })
})

describe('a bundle that is refused', () => {
  it('leaves the live policy, is not tried twice, and the next good one goes live', async () => {
    publish(saying('first'))
    await using following = await new Following().open()
    const digest = following.live.current.digest
    publish(saying('evil', { key: stranger }))
    expect(await following.rejected()).toMatch(
      new RegExp(`^bundle_signature_invalid: ${server.url}/policy/bundle.tar.gz: failed to verify JWT`),
    )
    const { confirmedAtMs } = following.source.status()
    await polls()
    expect(following.source.status().confirmedAtMs).toBe(confirmedAtMs)
    expect(following.rejections()).toHaveLength(1)
    expect(following.live.current.digest).toBe(digest)
    expect(following.source.status()).toMatchObject({ revision: 'rev-first', fault: undefined })
    expect(following.live.status()).toMatchObject({ rejected: 1, reloads: 0 })

    publish(Buffer.from('<html>maintenance</html>'))
    expect(await following.rejected(2)).toMatch(/^bundle_invalid: .*: no gzip archive/)
    expect(following.says()).toEqual(['first'])
    publish(saying('second'))
    await following.until('second')
    expect(following.live.status().lastError).toBeUndefined()
  })
})

describe('a place that does not answer with a bundle', () => {
  it('changes nothing, says so once a look, and is followed again when it is back', async () => {
    publish(saying('first'), '"one"')
    await using following = await new Following().open()
    const { confirmedAtMs } = following.source.status()
    fail(503)
    await eventually(() => following.faults.length > 1, 'faults')
    expect(following.faults[0]).toBe(`${server.url}/policy/bundle.tar.gz: it answered 503`)
    expect(following.source.status().fault).toBe('it answered 503')
    expect([following.events, following.says()]).toEqual([[], ['first']])
    publish(saying('first'), '"one"')
    await eventually(() => following.source.status().fault === undefined, 'the end of the fault')
    expect(following.source.status().confirmedAtMs).toBeGreaterThan(confirmedAtMs)
    publish(saying('second'))
    await following.until('second')
  })

  it('refuses SIGHUP, and says so until it is back, even unchanged', async () => {
    publish(saying('first'), '"one"')
    await using following = await new Following().open()
    fail(404)
    expect(await following.live.reloadNow()).toMatchObject({
      type: 'rejected',
      diagnostics: [{ code: 'bundle_unavailable' }],
    })
    expect(following.live.status().lastError).toContain('it answered 404')
    expect(following.says()).toEqual(['first'])
    publish(saying('first'), '"one"')
    await eventually(() => following.live.status().lastError === undefined, 'the end of the error')
  })

  const strange: readonly (readonly [name: string, set: () => void, reason: string])[] = [
    ['a redirect', () => fail(302, { location: '/elsewhere' }), 'it answered 302'],
    ['no content', () => fail(204), 'it answered 204'],
    ['too much', () => publish(Buffer.alloc(33 * 1024 * 1024)), 'it sent more than 33554432 bytes'],
    [
      'half of what it announces',
      () => {
        answer = (_, res) => res.writeHead(200, { 'content-length': 1000 }).write('x', () => res.destroy())
      },
      'no answer (UND_ERR_SOCKET)',
    ],
  ]
  it.each(strange)('at the start, without a cache, is an error: %s', async (_, set, reason) => {
    set()
    await using following = new Following()
    await expect(following.open()).rejects.toThrow(
      `bundle_unavailable: ${server.url}/policy/bundle.tar.gz: ${reason}`,
    )
    expect(asked).toHaveLength(1)
  })
})

describe('the cache', () => {
  it('holds the last bundle that came to decide, for its owner only', async () => {
    const first = saying('first')
    const second = saying('second')
    publish(first)
    await using following = await new Following().open()
    expect(statSync(following.cache).mode & 0o777).toBe(0o600)
    publish(saying('evil', { key: stranger }))
    await following.rejected()
    expect(readFileSync(following.cache)).toEqual(first)
    publish(second)
    await following.until('second')
    await eventually(() => readFileSync(following.cache).equals(second), 'the new cache')
    expect(readdirSync(dirname(following.cache))).toEqual(['bundle.tar.gz'])
  })

  it('stands in at the start while the place is down, and the place is followed again', async () => {
    publish(saying('first'))
    await using following = await new Following().open()
    fail(503)
    await following.open()
    expect(following.says()).toEqual(['first'])
    expect(following.rejections()).toEqual([
      `bundle_unavailable: ${server.url}/policy/bundle.tar.gz: it answered 503`,
    ])
    expect(following.live.status()).toMatchObject({ lastError: following.rejections()[0], rejected: 1 })
    expect(following.source.status()).toMatchObject({ revision: 'rev-first', fault: 'it answered 503' })
    publish(saying('first'))
    await eventually(() => following.live.status().lastError === undefined, 'the end of the error')
  })

  it('stands in at the start when what the place gives is refused', async () => {
    publish(saying('first'))
    await using following = await new Following().open()
    publish(saying('evil', { key: stranger }))
    await following.open()
    expect(following.says()).toEqual(['first'])
    expect(following.rejections()).toEqual([expect.stringMatching(/^bundle_signature_invalid: http/)])
  })

  const spoilt: readonly (readonly [name: string, bytes: () => Uint8Array, code: string])[] = [
    ['signed by a stranger', () => saying('evil', { key: stranger }), 'bundle_signature_invalid'],
    ['cut off', () => saying('first').subarray(0, 1000), 'bundle_invalid'],
  ]
  it.each(spoilt)('does not stand in %s: both problems are named', async (_, bytes, code) => {
    await using following = new Following()
    following.dir.write('data/bundle.tar.gz', bytes())
    fail(503)
    const opening = following.open()
    await expect(opening).rejects.toThrow(`bundle_unavailable: ${server.url}/policy/bundle.tar.gz`)
    await expect(opening).rejects.toThrow(`\n${code}: ${following.cache}: `)
  })

  it('that cannot be written is a fault, and the policy goes live all the same', async () => {
    publish(saying('first'))
    await using following = new Following()
    following.dir.write('data', 'a file where the directory should be')
    await following.open()
    expect(following.says()).toEqual(['first'])
    expect(following.faults).toEqual([`${following.cache}: the bundle cannot be kept (EEXIST)`])
  })
})

describe('a file', () => {
  it('is looked at as a URL is; while it is missing or strange, nothing changes', async () => {
    await using following = new Following()
    const file = join(following.dir.path, 'bundle.tar.gz')
    const place = { file }
    await expect(following.open({ place })).rejects.toThrow(
      `bundle_unavailable: ${file}: it cannot be read (ENOENT)`,
    )
    writeFileSync(file, saying('first'))
    await following.open({ place })
    rmSync(file)
    await eventually(() => following.source.status().fault === 'it cannot be read (ENOENT)', 'the fault')
    mkdirSync(file)
    await eventually(() => following.source.status().fault === 'it is no file', 'the fault')
    rmdirSync(file)
    expect([following.events, following.says()]).toEqual([[], ['first']])
    writeFileSync(`${file}.new`, saying('second'))
    renameSync(`${file}.new`, file)
    await following.until('second')
  })
})
