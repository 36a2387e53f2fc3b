//! What the client says of its device: its state, and tokens that renew the session's.

use bytes::Bytes;
use synchub_protocol::ClientFrame;
use synchub_protocol::client::{AppState, NetworkQuality, Settings, Token};

use crate::session::State;

/// The state of the device, as far as the app knows it. What is absent stays as the hub has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceState {
    /// Whether only what is urgent is wanted at once.
    pub battery_saver: Option<bool>,
    /// How good the network is.
    pub network_quality: Option<NetworkQuality>,
    /// Whether the app is in front of its user; the background works like battery saver.
    pub app_state: Option<AppState>,
}

impl State {
    /// Says another state of the device, now and on every later connection.
    pub fn set_device_state(&mut self, state: DeviceState) {
        let known = &mut self.own;
        known.battery_saver = state.battery_saver.or(known.battery_saver);
        known.app_state = state.app_state.or(known.app_state);
        known.network_quality = state.network_quality.or(known.network_quality.take());
        if let Some(session) = &mut self.session {
            session.device_state_is_said = false;
        }
    }

    /// Renews the token of the session, if there is one: a later connection asks the token source.
    pub fn renew_token(&mut self, token: String) {
        if let Some(session) = &mut self.session {
            session.renewal = Some(token);
        }
    }

    /// What is to be said of the device now.
    pub(super) fn own_frame(&mut self) -> Option<Bytes> {
        let session = self.session.as_mut()?;
        let frame = if let Some(token) = session.renewal.take() {
            let id = take(session.requests.next_id_mut());
            session.renewals.push(id);
            ClientFrame::Token(Token { id, token })
        } else if !session.device_state_is_said {
            session.device_state_is_said = true;
            let DeviceState { battery_saver, network_quality, app_state } = self.own.clone();
            let id = take(session.requests.next_id_mut());
            ClientFrame::Settings(Settings { id, battery_saver, network_quality, app_state })
        } else {
            return None;
        };
        Some(self.settings.encoding.encode(&frame))
    }
}

fn take(next_id: &mut u64) -> u64 {
    let id = *next_id;
    *next_id += 1;
    id
}
