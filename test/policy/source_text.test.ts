// Files before anybody parses them: how large they may be, and that they are text.
import { truncateSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Diagnostic } from '../../src/policy/diagnostic.ts'
import { PolicyError } from '../../src/policy/diagnostic.ts'
import { sizeLimits, tooLarge, utf8 } from '../../src/policy/source_text.ts'
import { readPolicy } from '../../src/policy/sources.ts'
import { PolicyDir } from './support.ts'

async function problemsOf(dir: PolicyDir): Promise<readonly Diagnostic[]> {
  const read = readPolicy(dir.path)
  await expect(read).rejects.toThrow(PolicyError)
  return read.then(
    () => [],
    (thrown: PolicyError) => thrown.diagnostics,
  )
}

describe('a size above its limit is refused by the name of the file:', () => {
  const mib = 1024 * 1024
  it.each<[name: string, sizes: Record<string, number>, message: string | undefined]>([
    ['one .rego file', { 'a.rego': 10 * mib }, 'a.rego: 10 MiB are more than the 1 MiB of one such file'],
    [
      'all .rego files',
      Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`${i}.rego`, mib])),
      '8.rego: with it, the .rego files have more than 8 MiB',
    ],
    [
      'data',
      { 'data/a.json': 64 * mib + 1 },
      'data/a.json: 64.1 MiB are more than the 64 MiB of one such file',
    ],
    ['a bundle', { 'a.tar.gz': 129 * mib }, 'a.tar.gz: 129 MiB are more than the 128 MiB of one such file'],
    ['none at the limit', { 'a.rego': sizeLimits.rego, 'data/a.json': sizeLimits.data }, undefined],
  ])('%s', (_name, sizes, message) => {
    const problem = tooLarge(new Map(Object.entries(sizes)))
    expect(problem && `${problem.file}: ${problem.message}`).toBe(message)
  })

  it('before it is read', async () => {
    using dir = PolicyDir.of({ 'authz.rego': '' })
    truncateSync(join(dir.path, 'authz.rego'), 1024 ** 4)
    expect(await problemsOf(dir)).toMatchObject([{ file: 'authz.rego', line: 1, code: 'file_too_large' }])
  })
})

describe('bytes that are no UTF-8 are refused where they stand:', () => {
  it.each<[name: string, bytes: number[], line: number, column: number]>([
    ['Latin-1', [0x61, 0x0a, 0xc3, 0xa9, 0x62, 0xe9, 0x0a], 2, 3],
    ['a sequence that the end cuts', [0x61, 0xe2, 0x82], 1, 2],
    ['UTF-16', [0xff, 0xfe, 0x61, 0x00], 1, 1],
    ['a lone surrogate', [0x61, 0xed, 0xa0, 0x80], 1, 2],
    ['an overlong slash', [0x0a, 0x0a, 0xc0, 0xaf], 3, 1],
  ])('%s', (_name, bytes, line, column) => {
    expect(utf8('a.rego', Uint8Array.from(bytes))).toMatchObject({
      file: 'a.rego',
      line,
      column,
      code: 'not_utf8',
    })
  })

  it('in sources and data, all at once', async () => {
    using rego = PolicyDir.of({ 'a.rego': Uint8Array.of(0xff), 'b.rego': Uint8Array.of(0x0a, 0xff) })
    expect((await problemsOf(rego)).map(({ file, line }) => `${file}:${line}`)).toEqual([
      'a.rego:1',
      'b.rego:2',
    ])
    using data = PolicyDir.of({ 'a.rego': '', 'data/a.json': Uint8Array.of(0x22, 0xff, 0x22) })
    expect(await problemsOf(data)).toMatchObject([
      { file: 'data/a.json', line: 1, column: 2, code: 'not_utf8' },
    ])
  })

  it('and a byte order mark is left out', () => {
    expect(utf8('a.rego', Uint8Array.of(0xef, 0xbb, 0xbf, 0x61))).toEqual({ text: 'a' })
  })
})
