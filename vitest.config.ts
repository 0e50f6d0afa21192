import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Servers, Redis and Wasm share two cores on a small machine: more forks only add noise.
    maxWorkers: 2,
  },
})
