import { signal } from "@preact/signals";

export const isOffline = signal(!navigator.onLine);

export function followNetwork(): void {
  const update = () => (isOffline.value = !navigator.onLine);
  addEventListener("online", update);
  addEventListener("offline", update);
}
