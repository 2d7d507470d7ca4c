import { render } from "preact";
import { followHistory } from "./address";
import { App } from "./app";
import { followNetwork } from "./network";
import { follow } from "./page";
import { followLink } from "./signinlink";

await followLink();
followHistory();
followNetwork();
follow();
render(<App />, document.getElementById("root") as HTMLElement);
