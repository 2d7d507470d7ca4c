import { render } from "preact";
import { followHistory } from "./address";
import { App } from "./app";
import { countArrivals } from "./arrivals";
import { followBalance } from "./live";
import { followNetwork } from "./network";
import { follow } from "./page";
import { noticeReturn } from "./payments";
import { followLink } from "./signinlink";

await followLink();
noticeReturn();
followHistory();
followNetwork();
countArrivals();
follow();
followBalance();
render(<App />, document.getElementById("root") as HTMLElement);
