import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { brotliDecompressSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'

const root = join(import.meta.dirname, '../..')
const regoc = join(root, 'regoc')
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
const line = (path: string): string => readFileSync(join(regoc, path), 'utf8')

describe('the Rego compiler in the repository', () => {
  it('is the one its hashes name', () => {
    const packed = readFileSync(join(regoc, 'regoc.wasm.br'))
    expect(line('regoc.wasm.br.sha256')).toBe(`${sha256(packed)}  regoc.wasm.br\n`)
    expect(line('regoc.wasm.sha256')).toBe(`${sha256(brotliDecompressSync(packed))}  regoc.wasm\n`)
  })

  it('is built with the Go release that go.mod names, which the loader belongs to', () => {
    const toolchain = /^toolchain (go1\.\d+\.\d+)$/m.exec(line('go.mod'))?.[1]
    const wasm = brotliDecompressSync(readFileSync(join(regoc, 'regoc.wasm.br')))
    expect(wasm.includes(`${toolchain}`)).toBe(true)
    expect(line('wasm_exec.js')).toContain('Use of this source code is governed by a BSD-style')
  })

  it('carries the licences of what is linked into it', () => {
    const licences = line('LICENSES/THIRD_PARTY.txt')
    for (const name of [
      'Go go1.',
      'github.com/open-policy-agent/opa v1.20.',
      'Apache License',
      'Stefan Krah',
    ]) {
      expect(licences).toContain(name)
    }
  })

  it('is refused when its bytes are not those of the hash', () => {
    // The package as installed, with one byte changed.
    const copy = mkdtempSync(join(tmpdir(), 'leasegate-regoc-'))
    try {
      cpSync(join(root, 'src'), join(copy, 'src'), { recursive: true })
      cpSync(regoc, join(copy, 'regoc'), { recursive: true })
      cpSync(join(root, 'policies'), join(copy, 'policies'), { recursive: true })
      cpSync(join(root, 'node_modules/yaml'), join(copy, 'node_modules/yaml'), { recursive: true })
      for (const name of ['zod', '@open-policy-agent/opa-wasm', 'sprintf-js']) {
        cpSync(join(root, 'node_modules', name), join(copy, 'node_modules', name), { recursive: true })
      }
      writeFileSync(join(copy, 'package.json'), '{"type":"module"}')
      const packed = readFileSync(join(regoc, 'regoc.wasm.br'))
      packed[packed.length >> 1]! ^= 1
      writeFileSync(join(copy, 'regoc/regoc.wasm.br'), packed)
      const script = `import { check } from './src/policy/toolchain.ts'
await check('policies').then(console.log, (error) => console.log(error.message))`
      const said = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
        cwd: copy,
        encoding: 'utf8',
      })
      expect(said).toContain('regoc.wasm.br does not match regoc.wasm.br.sha256')
    } finally {
      rmSync(copy, { recursive: true })
    }
  })
})
